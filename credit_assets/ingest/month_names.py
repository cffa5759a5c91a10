"""Month names in languages other than English, as they occur in written dates.

The names are those of the Unicode CLDR (full and abbreviated, in their date and standalone forms), plus those that
spreadsheets write. No name stands for different months in two languages.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

from credit_assets.lake.sql import sql_text

ENGLISH = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_IN_FULL = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_ENGLISH_NAMES = {*ENGLISH, *_IN_FULL}

_NAMES = {
    "German": "januar jänner jan, februar feber feb, märz maerz mär mrz, april apr, mai, juni jun, juli jul, "
    "august aug, september sept sep, oktober okt, november nov, dezember dez",
    "French": "janvier janv, février févr fév, mars, avril avr, mai, juin, juillet juil, août, septembre sept, "
    "octobre oct, novembre nov, décembre déc",
    "Spanish": "enero ene, febrero feb, marzo mar, abril abr, mayo may, junio jun, julio jul, agosto ago, "
    "septiembre setiembre sept sep, octubre oct, noviembre nov, diciembre dic",
    "Italian": "gennaio gen, febbraio feb, marzo mar, aprile apr, maggio mag, giugno giu, luglio lug, agosto ago, "
    "settembre set, ottobre ott, novembre nov, dicembre dic",
    "Portuguese": "janeiro jan, fevereiro fev, março mar, abril abr, maio mai, junho jun, julho jul, agosto ago, "
    "setembro set, outubro out, novembro nov, dezembro dez",
    "Dutch": "januari jan, februari feb, maart mrt, april apr, mei, juni jun, juli jul, augustus aug, september sep, "
    "oktober okt, november nov, december dec",
    "Polish": "stycznia styczeń sty, lutego luty lut, marca marzec mar, kwietnia kwiecień kwi, maja maj, "
    "czerwca czerwiec cze, lipca lipiec lip, sierpnia sierpień sie, września wrzesień wrz, "
    "października październik paź, listopada listopad lis, grudnia grudzień gru",
    "Swedish": "januari jan, februari feb, mars, april apr, maj, juni, juli, augusti aug, september sep, oktober okt, "
    "november nov, december dec",
    "Danish": "januar jan, februar feb, marts mar, april apr, maj, juni jun, juli jul, august aug, september sep, "
    "oktober okt, november nov, december dec",
    "Norwegian": "januar jan, februar feb, mars mar, april apr, mai, juni jun, juli jul, august aug, september sep, "
    "oktober okt, november nov, desember des",
    "Czech": "ledna leden led, února únor úno, března březen bře, dubna duben dub, května květen kvě, "
    "června červen čvn, července červenec čvc, srpna srpen srp, září zář, října říjen říj, listopadu listopad lis, "
    "prosince prosinec pro",
    "Finnish": "tammikuuta tammikuu tammi, helmikuuta helmikuu helmi, maaliskuuta maaliskuu maalis, "
    "huhtikuuta huhtikuu huhti, toukokuuta toukokuu touko, kesäkuuta kesäkuu kesä, heinäkuuta heinäkuu heinä, "
    "elokuuta elokuu elo, syyskuuta syyskuu syys, lokakuuta lokakuu loka, marraskuuta marraskuu marras, "
    "joulukuuta joulukuu joulu",
    "Romanian": "ianuarie ian, februarie feb, martie mar, aprilie apr, mai, iunie iun, iulie iul, august aug, "
    "septembrie sept, octombrie oct, noiembrie nov, decembrie dec",
    "Hungarian": "január jan, február febr, március márc, április ápr, május máj, június jún, július júl, "
    "augusztus aug, szeptember szept, október okt, november nov, december dec",
    "Turkish": "ocak oca, şubat şub, mart mar, nisan nis, mayıs may, haziran haz, temmuz tem, ağustos ağu, eylül eyl, "
    "ekim eki, kasım kas, aralık ara",
}
MONTHS = {language: [month.split() for month in names.split(", ")] for language, names in _NAMES.items()}
"""For each language, the names of each month, the full name first."""

LETTERS = "[a-zı]{3,}"
"""A regular expression of a month name in lower case without accents."""

SEPARATOR = "(?: del? |[ ./,-]{1,2})"
"""A regular expression of the separators between day, month and year."""


def unaccented(text: str) -> str:
    """The text in lower case without accents, equal to DuckDB's `strip_accents(lower(text))`."""
    return "".join(letter for letter in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(letter))


def numbers_of(language: str) -> dict[str, int]:
    """The language's month names, without accents, and their numbers (1 to 12)."""
    return {unaccented(name): number for number, names in enumerate(MONTHS[language], 1) for name in names}


def any_language() -> dict[str, int]:
    """Month names in all languages, with and without accents, and their numbers (1 to 12). Short names that are likely
    to be other words are left out, such as three-letter abbreviations other than the English ones."""
    found = {name: number for names in (ENGLISH, _IN_FULL) for number, name in enumerate(names, 1)} | {"sept": 9}
    for months in MONTHS.values():
        for number, names in enumerate(months, 1):
            found |= {each: number for name in names if len(name) > 3 for each in (name, unaccented(name))}
    # As in "data mart".
    del found["mart"]
    return found


def language_of(texts: Iterable[str]) -> str | None:
    """The language to which most of the words belong as month names; None if they are English or none is a month."""
    words = {word for text in texts for word in re.findall(LETTERS, unaccented(text))}
    if not words - _ENGLISH_NAMES:
        return None
    found = {language: words & numbers_of(language).keys() for language in MONTHS}
    likeliest = max(found, key=lambda language: len(found[language]))
    return likeliest if found[likeliest] - _ENGLISH_NAMES else None


def pattern(language: str) -> str:
    """A regular expression of the month names in any case, with or without accents and a trailing point."""
    names: Collection[str] = {each for month in MONTHS[language] for name in month for each in (name, unaccented(name))}
    return f"(?i:{'|'.join(sorted(names))})[.]?"


def in_english(text: str, language: str) -> str:
    """SQL of a text with its month name replaced by the English abbreviation, in lower case and with single blanks
    between the parts; null if it has no month name of the language."""
    plainly = f"trim(regexp_replace(strip_accents(lower({text})), '([ ./,-]|\\bdel?\\b)+', ' ', 'g'))"
    known = ", ".join(f"{sql_text(name)}: '{ENGLISH[n - 1]}'" for name, n in numbers_of(language).items())
    return f"regexp_replace({plainly}, '{LETTERS}', MAP {{{known}}}[regexp_extract({plainly}, '{LETTERS}')])"
