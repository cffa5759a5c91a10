"""Patterns of column names, by what they mean in lending: regular expressions that match the words of a name in lower
case, without accents and separated by one blank. What the values mean is guessed in `outcome.py` and
`protected_columns.py`.

The languages are English, German, French, Spanish, Italian, Portuguese, Dutch and Polish.
"""

from __future__ import annotations


def _with(*words: str) -> str:
    """A pattern of names that contain one of these (regular expressions of whole words)."""
    return rf".*\b({'|'.join(words)})\b.*"


# -- the outcome ---------------------------------------------------------------------------------------

OUTCOME = (
    r"(target|label|outcome|default|defaulted|bad|bad flag|is bad|good bad|bad good|y|loan status|default flag"
    r"|is default)",
    _with(
        r"\w*default\w*|bad|charged? ?off|chargeoff|npl|delinquen\w+|dlqin ?\w*|non ?performing|unpaid|write ?off",
        r"(not|never|un|non) (fully |paid|repaid|performing).*",
        r"zahlungsausfall|ausfall|ausgefallen|defaut|impaye|incumplimiento|impago|moros[oa]",
        r"inadimplen\w+|insolven\w+|wanbetaling|niesplacon[aey]|zalegl\w+|niewyplacaln\w+",
    ),
    r"(class|risk|credit risk|creditability|kredit|credit|status|approved|repaid|fully paid|risk ?performance|flag)",
)
"""The most likely first."""

BAD_ROOTS = (
    r"bad|default\w*|charge ?d? ?off|chargeoff|chg ?off|chgoff|charged off|npl|delinq\w*|dlqin\w*|loss|lost"
    r"|(written|write) ?off|bankrupt\w*|ausfall|zahlungsausfall|ausgefallen|notleidend|schlecht|defaut|impayee?s?"
    r"|mauvais|incumplimiento|impago|moros[oa]|malo|inadimpl\w+|ruim|insolven\w+|cattivo|wanbetaling|slecht|zly"
)
WEAKLY_BAD_ROOTS = r"late|overdue|past due|arrears|mora"
"""Bad only if there is one other value; among several values they mean a loan that is still running."""

GOOD_ROOTS = (
    r"good|paid|repaid|p i f|pif|performing|approved|creditworthy|creditability|kredit|gut|bezahlt|zuruckgezahlt|bon"
    r"|rembourse|bueno|pagado|buono|pagato|bom|goed|betaald|dobry|splacony"
)
NEGATIONS = r"not|no|non|never|un|without|nicht|kein\w*|sans|pas|sin|senza|sem|niet|geen|nie"
YES = r"yes|y|true|t|1|1[.]0|ja|j|oui|o|si|s|sim|tak|wahr|vrai"
NO = r"no|n|false|f|0|0[.]0|-1|-1[.]0|nein|non|nao|nie|nee|falsch|faux"

# -- the key -------------------------------------------------------------------------------------------

KEY = _with(r"id|key|no|nr|number|num|code|ref|reference|index|uuid|unnamed")
ENTITY = _with(r"applicant|application|customer|client|borrower|loan|account|member|person|sk")

# -- protected attributes ------------------------------------------------------------------------------

_THINGS = (
    r"loans?|mortgage|cars?|vehicle|auto|house|home|property|building|collateral|asset|accounts?|acct?|credit|card|file"
    r"|trade|tradeline|line|business|company|employment|job"
)
"""Things whose age is not that of a person."""
_THINGS_IN_OTHER_LANGUAGES = (
    r"konto|kredit|vertrag|haus|auto|fahrzeug|wohnung|firma|compte|pret|maison|voiture|vehicule|cuenta|prestamo|casa"
    r"|coche|vehiculo|conto|prestito|veicolo|conta|emprestimo|carro|veiculo|rekening|lening|huis|kredyt|pojazdu"
)
_PEOPLE = r"\w*applicant|applicants|cust|customer|client|borrower|person|holder|member|guarantor"
_AGE_OF_A_THING = (
    rf"\b({_THINGS})( (?!({_PEOPLE})\b)\w+)* age\b"
    rf"|\bage of( the)?( \w+)? ({_THINGS})\b"
    rf"|\bage (du|de la) ({_THINGS_IN_OTHER_LANGUAGES})\b"
)

PROTECTED = {
    "gender": _with(
        r"\w*(sex|gender|male)\w*|wom[ae]n|salutation|honorific|pronouns?",
        r"geschl\w*|mannlich|weiblich|anrede|frau|herr|famges",
        r"genre|civilite|homme|femme",
        r"genero|hombre|mujer",
        r"genere|sesso|uomo|donna",
        r"geslacht|aanhef|vrouw",
        r"plec|kobieta|mezczyzna",
    ),
    "race": _with(
        r"races?\d*|racial|\w*ethni\w*|colou?r(?! of)|black(?! list)",
        r"(non ?)?white(?! (list|label))|asian|hispanic|latin[oax]|caucasian|minority",
        r"am ?ind|american indian|(native|african) american|native hawaiian|hawaiian|hi ?pac|pacific islander",
        r"alaska native|indigenous|aborigin\w*|multiracial",
        r"rasse|etni\w*|raza|razza|raca|rasa",
    )
    + r"|ras|cor( raca)?",
    "religion": _with(
        r"relig\w*|faith|caste|church|konfession|kirche\w*|culte|confessione|credo|godsdienst|geloof|wyznanie"
    ),
    "marital_status": _with(
        r"marital\w*|mar ?stat\w*|marriage|married|unmarried|divorced?|widow\w*|spous\w*|matrimon\w*",
        r"(civil|family|personal|conjugal) ?stat\w*",
        r"familien ?stand|famges|fam ?stand|verheiratet|ledig|geschieden|verwitwet",
        r"situation (familiale|de famille)|etat civil|celibataire|conjoint",
        r"situacion (familiar|conyugal)|estado civil|casad[oa]|solter[oa]|conyuge|conjuge",
        r"stato civile|coniug\w*|sposat[oa]|celibe|nubile",
        r"burgerlijke staat|gehuwd|getrouwd",
        r"stan cywilny|malzon\w*|zonaty|zamezna",
    )
    + r"|(is )?single",
    "national_origin": _with(
        r"nationalit\w*|\w*citizen\w*|\w*foreign\w*|immigra\w*|migrants?|national origin|language|ancestry|tribe",
        r"mother tongue|refugee|(country|place|city|state|region) of (birth|origin)",
        r"birth ?(country|place|city|state)",
        r"\w*gastarb\w*|auslander\w*|auslaender\w*|staatsang\w*|staatsburger\w*|geburts(land|ort)|migrations\w*",
        r"herkunft\w*|muttersprache",
        r"etrang\w*|(pays|lieu) (de naissance|d origine)|langue",
        r"nacionalidad\w*|extranjer[oa]|ciudadania|(pais|lugar) de (nacimiento|origen)|idioma",
        r"nazionalita|cittadinanza|stranier[oa]|(paese|luogo) di (nascita|origine)",
        r"nacionalidade|estrangeir[oa]|naturalidade|pais de (nascimento|origem)",
        r"buitenland\w*|geboorte(land|plaats)|herkomst",
        r"narodowosc|obywatelstwo|cudzoziem\w*|kraj (urodzenia|pochodzenia)|miejsce urodzenia",
    ),
    "disability": _with(
        r"disab\w*|\w*handicap\w*|\w*behinder\w*|invalidit\w*|invalide|invalidez|discapac\w*|minusval\w*|deficiencia",
        r"deficiente|niepelnospr\w*",
    ),
    "public_assistance": _with(
        r"(public|social) (assistance|aid|benefits?)|welfare|benefits?|food stamps?",
        r"sozialhilfe|burgergeld|arbeitslosengeld|aide sociale|ayuda social|assistenza sociale|bolsa familia",
        r"uitkering|bijstand|zasilek",
    ),
    "dependents": _with(
        r"\w*depend[ae]nts?|child(ren)?|kids|pregnan\w*|maternity|(family|fam|household) ?(size|members)",
        r"kind(er)?|unterhalts\w*|schwanger\w*",
        r"enfants?|personnes a charge|enceinte|grossesse",
        r"hijos|cargas familiares|dependientes|embaraz\w*",
        r"figli|a carico|filhos|dependentes|kinderen|dzieci",
    ),
    "age": rf"(?!.*({_AGE_OF_A_THING}))"
    + _with(
        r"(\w*applicant|customer|client|borrower|person)?age\d*|age ?(band|group|range|bucket|cat\w*)|ages|aged|born",
        r"age ?(gte?|lte?|ge|le|over|under|above|below) ?\d+|(over|under) ?(18|21|25|60|62|65)|elderly",
        r"senior citizen|\w*birth\w*|dob|yob",
    )
    + rf"|(?!.*\b({_THINGS_IN_OTHER_LANGUAGES})\b)"
    + _with(
        r"alter|alters\w+|lebensalter|geburts\w*|geb ?(datum|dat|jahr)",
        r"\w*naissance|edad|nacimiento|fec(ha)? nac\w*|eta|nascita|idade|nascimento|d(ata|t) nasc\w*",
        r"leeftijd|geboorte\w*|wiek|urodz\w*",
    ),
}
"""Attribute to its names. National origin precedes age, so that a country or place of birth is not taken for an age."""

PROTECTED_VALUES = {
    "race": _with(r"asian|hispanic|latin[oax]|african american|caucasian|native american|pacific islander"),
    "religion": _with(r"christian|catholic|protestant|muslim|hindu|jewish|buddhist|sikh|orthodox"),
    "marital_status": _with(
        r"married|divorced|widow(ed|er)?|unmarried|verheiratet|geschieden|mariee?|divorcee?|casad[oa]|divorciad[oa]",
        r"sposat[oa]|gehuwd|zonaty|zamezna",
    ),
}
"""Attribute to its values. Two of them identify the attribute, whatever the column's name."""

MALE = (
    r"male|man|men|m|mr|masculin|mannlich|maennlich|hombre|mann|herr|homme|h|masculino|maschio|uomo|monsieur|signore|sr"
    r"|senor|dhr|mezczyzna|pan"
)
FEMALE = (
    r"female|woman|women|f|w|mrs|ms|miss|feminin|weiblich|mujer|frau|femme|feminino|femenino|femmina|donna|madame"
    r"|signora|sra|senora|vrouw|v|mevr|kobieta|k|pani"
)
MISSING = (
    *(
        "",
        "?",
        "-",
        "--",
        "---",
        "–",
        "—",
        ".",
        "na",
        "n/a",
        "n.a.",
        "#n/a",
        "<na>",
        "nan",
        "nil",
        "null",
        "(null)",
        "\\n",
    ),
    *("none", "unknown", "missing", "xna", "(blank)", "no data", "not available"),
    *("k.a.", "k. a.", "k.a", "keine angabe", "unbekannt", "nicht verfügbar", "#nv", "#n/v"),
    *("n.c.", "nc", "n.d.", "n/d", "nd", "inconnu", "non communiqué"),
    *("s/d", "s.d.", "sin dato", "sin datos", "desconocido", "sconosciuto", "desconhecido", "sem informação"),
    *("onbekend", "brak", "brak danych", "nieznany", "okänd", "ukjent", "ukendt"),
)
"""Texts that sources write for "not known" among numbers and dates, in lower case."""

UNKNOWN = {*MISSING, "other", "not given", "u"}
"""The same among categories, and categories that are not a group of people."""

# -- personal data ------------------------------------------------------------------------------------

MEASURES = (
    r"(is|has|flag|cnt|count|number|num|no|nr|nbr|n|days|months|mths|years|yrs)\b.+"
    r"|.*\b(days|months|mths|years|yrs|since|change|changed|verified|verification|type|status|provided|length|count|flag"
    r"|rating|score|ratio|rate|amount|amt|balance|limit|income|value|usage|bills?|payments?|tier|clicks|date|average|avg"
    r"|mean|max|min|total)\b.*"
)
"""Names of measures: `days since phone change` is not a telephone number."""

PERSONAL = {
    "a person's name": _with(
        r"(full|first|last|middle|given|family|maiden|user|nick|applicant|customer|client|borrower|person|owner|holder"
        r"|contact|employee|father|mother|spouse|reference|guarantor) ?names?",
        r"name of( the)? (applicant|customer|client|borrower|person|owner|holder)",
        r"surname|forename|fullname|username|login|initials|signature",
        r"nachname|vorname|nom|prenom|nombres?|apellidos?|cognome|nome|sobrenome|achternaam|voornaam|imie|nazwisko",
    )
    + r"|name",
    "an e-mail address": _with(r"e ?mail\w*|mail( address| adresse)?|correo|courriel"),
    "a telephone number": _with(
        r"\w*phone\w*|mobile|cell|tel|telef\w*|fax|whatsapp|handy|rufnummer|msisdn|celular|movil|portable"
    ),
    "an address": _with(
        r"street\w*|\w*address|addr\d?|\w*strasse|strase|str|hausnummer|house (no|number)|adresse|rue|direccion|calle",
        r"indirizzo|via|endereco|rua|adres|straat|ulica|apartment|po box|ip( address)?|ipv4|mac addr\w*|url|linkedin",
        r"device (id|fingerprint)|imei|cookie( id)?|user ?agent",
    ),
    "an official number": _with(
        r"ssn|social (security|insurance)( \w+)?|nino|national (id|identity|insurance)( \w+)?|passport\w*|voter id",
        r"tax (id|number|no|identification \w+)|itin|driv(er|ing)\w* licen[cs]e( \w+)?|licen[cs]e (no|number|plate)",
        r"id card|identity (card|number|no)|aadha?ar\w*|pan (no|number|card)|curp|rfc|dni|nif|cpf|cnpj|pesel|bsn",
        r"codice fiscale|fiscal code|burgerservicenummer|steuer ?(nummer|id)|sozialversicherungs\w*|\w*ausweis\w*",
        r"reisepass\w*",
        r"(numero de )?(securite sociale|seguridad social)",
    )
    + r"|sin|tin|pan|nie|rg",
    "an account number": _with(
        r"iban|bic|swift|(account|acct|card|bank account|credit card) (no|number|nr|num|id)|konto ?(nr|nummer)|blz",
        r"routing (no|number)|sort code|cvv|rekeningnummer|numero (de )?(compte|cuenta|conta|carte|tarjeta)",
    ),
}
"""Kinds of personal data, each with its names."""

HOME = (
    _with(
        r"zip\w*|post ?code|postal( ?code)?|postleitzahl|plz|codigo postal|cep|kod pocztowy|latitude|longitude|lng",
        r"gps\w*|coordinates?|geo ?(hash|code|location|x|y)|city|town|village|fips|census \w+|tract|suburb",
        r"neighbou?rhood|borough",
        r"wohnort|stadt|ville|commune|ciudad|municipio|barrio|citta|comune|cidade|bairro|woonplaats|gemeente|miasto",
    )
    + r"|(\w+ )?(lat|lon|long)|cap|ort"
)
"""Names of places of residence that are precise enough to identify a neighbourhood."""

REGION = _with(
    r"state|region\w*|province|county|district|prefecture|country|geograph\w*|bundesland|departement|provincia|regione",
    r"uf|wojewodztwo|msa|cbsa|metro",
)
"""Names of regions of residence."""

# -- columns known only later, the lender's own price, and dates ---------------------------------------

LATE = (
    r"(recover(y|ies)|recovered)\b.*|.*\bcollection recovery\b.*|.*\b(amount|amt|principal) recovered\b.*",
    r"total (pymnt|payment|(re)?paid|rec)\b.*",
    r".*\b(amount|amt|principal|prncp|capital|interest|balance|fees?) (re)?paid\b.*",
    r"(amount|principal|capital|interest) of .*\b(re)?paid\b.*|(is |has )?repaid\b.*",
    r"paid (amount|amt|principal|capital|back|off|to date)\b.*|.*\brepayments? (total|sum|to date)\b.*",
    r"(last|next) (pymnt|payment|paid|credit pull|fico)\b.*",
    r".*\b(out(standing)?|remaining|unpaid) (prncp|principal|balance|bal|amount|amt|debt|capital)\b.*",
    r".*\b(balance|bal|principal|prncp|amount|debt) (outstanding|remaining|unpaid|owed)\b.*",
    r".*\b(settlement|hardship|write ?off|written off|charge ?off (date|amount)|chargeoff amount|lgd|loss given)\b.*",
    r"(.*\b)?(loss|losses|arrears?|foreclos\w*|repossess\w*|forbearance)\b.*",
    r"dpd ?\d*\b.*|.*\bdays (past due|overdue|late|delinquent)\b.*|.*\b(max|current|last|ever) dpd\b.*",
    r"(is |was )?closed\b.*|.*\bclos(ed|ing|ure) (date|on|at|day|month|reason|flag)\b.*|.*\bdate closed\b.*",
    r"(loan status|final status|outcome|default date|paid off date|pymnt plan)",
)
PRICE = (
    r"((loan|int|interest|nominal|annual) )*(int|interest) rate( \w+)?|apr",
    r"((loan|risk|sub|credit|internal) )*(grade|rating|risk class|risk band)|loan subgrade|subgrade",
)
DECISION = (
    # First the application date, the earliest one. `app` counts only next to a date, because it may be a program.
    r"((loan|credit|customer|cust|client|account|acct|facility) )*(app|appl|appln|applic|application|submission)"
    r"( (received|recd|submitted|submission|creation|created|entry))? (date|dt|d|day|time|timestamp|ts|datetime|month)",
    r"((loan|credit) )*(date|dt|day|month)( of)?( the)?( loan| credit)? (app|appl|appln|applic|application|applied"
    r"|submission|submitted)|(loan )?(app|appl|application|submission)(date|dt|time)|date(app\w*|submitted)",
    r"((loan|application|app|appl|customer) )*(applied|submitted)( (on|at|date|dt|day|month|time|timestamp))?"
    r"|((loan|credit) )*(requested|request) (on|at|date|dt)",
    r"antrag\w*( (datum|vom|am))?|datum( des)? antrags?|(date|fecha|data|data de|data da)( de)?( la| della?)? "
    r"(demande|solicitud|domanda|richiesta|solicitacao|pedido)",
    r".*\b(issue|issued|application|applied|decision|origination|orig|disburs\w+|funded|funding|approval|approved"
    r"|granted|booked|booking|start)\b.*",
    r"(date|month|period|vintage|as of)",
)
HISTORY = (
    r"(?=.*\b(number|num|nbr|nr|no|n|cnt|count|times?\d*|within|last \d+|past \d+|prior|previous|history|bureau)\b)"
    r"(?=.*\b(late|past due|overdue|delinquent|dpd|arrears|charge ?offs?|chargeoffs?|foreclosures?|repossess\w*"
    r"|settlements?|losses|write ?offs?)\b).*"
)
"""Counts of problems with earlier loans, which a bureau knew at the application."""

CALENDAR = r"(issue|application|decision|orig\w*|funding|approval|start) (year|month|quarter|week)"
