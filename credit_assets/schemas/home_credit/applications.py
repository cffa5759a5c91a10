"""The contracts of the applications and of the outcomes delivered later."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandera.pandas as pa

from credit_assets.schemas.home_credit.columns import (
    COMPANIONS,
    LARGEST_INCOME,
    WEEKDAYS,
    category,
    count,
    days,
    days_or_none,
    flag,
    key,
    positive_amount,
    share,
)
from credit_assets.schemas.table import Relation, Table

# Eighteen years of 365 days; the youngest applicant in the source is 20.
YOUNGEST_APPLICANT = 6570

INCOME_TYPES = (
    "Working",
    "Commercial associate",
    "Pensioner",
    "State servant",
    "Unemployed",
    "Student",
    "Businessman",
    "Maternity leave",
)
EDUCATION_TYPES = (
    "Lower secondary",
    "Secondary / secondary special",
    "Incomplete higher",
    "Higher education",
    "Academic degree",
)
FAMILY_STATUSES = ("Married", "Single / not married", "Civil marriage", "Separated", "Widow", "Unknown")
HOUSING_TYPES = (
    "House / apartment",
    "With parents",
    "Municipal apartment",
    "Rented apartment",
    "Office apartment",
    "Co-op apartment",
)
OCCUPATIONS = (
    "Accountants",
    "Cleaning staff",
    "Cooking staff",
    "Core staff",
    "Drivers",
    "HR staff",
    "High skill tech staff",
    "IT staff",
    "Laborers",
    "Low-skill Laborers",
    "Managers",
    "Medicine staff",
    "Private service staff",
    "Realty agents",
    "Sales staff",
    "Secretaries",
    "Security staff",
    "Waiters/barmen staff",
)
ORGANIZATIONS = (
    "Advertising",
    "Agriculture",
    "Bank",
    *(f"Business Entity Type {number}" for number in (1, 2, 3)),
    "Cleaning",
    "Construction",
    "Culture",
    "Electricity",
    "Emergency",
    "Government",
    "Hotel",
    "Housing",
    *(f"Industry: type {number}" for number in range(1, 14)),
    "Insurance",
    "Kindergarten",
    "Legal Services",
    "Medicine",
    "Military",
    "Mobile",
    "Other",
    "Police",
    "Postal",
    "Realtor",
    "Religion",
    "Restaurant",
    "School",
    "Security",
    "Security Ministries",
    "Self-employed",
    "Services",
    "Telecom",
    *(f"Trade: type {number}" for number in range(1, 8)),
    *(f"Transport: type {number}" for number in range(1, 5)),
    "University",
    "XNA",
)
REPAIR_FUNDS = ("reg oper account", "reg oper spec account", "org spec account", "not specified")
HOUSE_TYPES = ("block of flats", "terraced house", "specific housing")
WALL_MATERIALS = ("Panel", "Stone, brick", "Block", "Wooden", "Mixed", "Monolithic", "Others")


def building(what: str, how: str) -> Any:
    """A figure of the applicant's building, scaled to 0..1 by the source; null for about half of the applicants."""
    return share(f"Building the applicant lives in: {what}, {how}, scaled")


def enquiries(when: str) -> Any:
    """A count, despite AMT in the source's name."""
    return count(f"Enquiries to the credit bureau about the applicant in the {when}", most=1000, nullable=True)


class Applications(Table):
    """Loan applications: one row per applicant, with the facts known at the application.

    Kaggle's application_train and application_test together; the latter has no TARGET.
    """

    SK_ID_CURR: np.int64 = key("Number of the application; one row per applicant")
    TARGET: float | None = pa.Field(
        isin=[0.0, 1.0],
        nullable=True,
        description="1 if the applicant had payment difficulties on the loan (late by more than X days on "
        "at least one of the first Y instalments), 0 otherwise, null if not known yet",
    )
    NAME_CONTRACT_TYPE: str = category("Type of the requested loan", ("Cash loans", "Revolving loans"))
    CODE_GENDER: str = category("Gender of the applicant; protected, kept for audit only", ("F", "M", "XNA"))
    FLAG_OWN_CAR: str = category("Whether the applicant owns a car", ("Y", "N"))
    FLAG_OWN_REALTY: str = category("Whether the applicant owns a house or flat", ("Y", "N"))
    CNT_CHILDREN: np.int8 = count("Number of children", most=50)
    AMT_INCOME_TOTAL: float = positive_amount("Yearly income of the applicant", most=LARGEST_INCOME)
    AMT_CREDIT: float = positive_amount("Amount of the loan applied for")
    AMT_ANNUITY: float = positive_amount("Instalment of the loan applied for", nullable=True)
    AMT_GOODS_PRICE: float = positive_amount("Price of the goods that the loan is for", nullable=True)
    NAME_TYPE_SUITE: str = category("Who accompanied the applicant", COMPANIONS, nullable=True)
    NAME_INCOME_TYPE: str = category("Source of the income", INCOME_TYPES)
    NAME_EDUCATION_TYPE: str = category("Highest education", EDUCATION_TYPES)
    NAME_FAMILY_STATUS: str = category("Marital status; protected, kept for audit only", FAMILY_STATUSES)
    NAME_HOUSING_TYPE: str = category("Housing situation of the applicant", HOUSING_TYPES)
    REGION_POPULATION_RELATIVE: float = share(
        "Population of the region where the applicant lives, scaled; higher is more populated", nullable=False
    )
    DAYS_BIRTH: np.int32 = days(
        "Birth of the applicant; protected, kept for audit only", latest=-YOUNGEST_APPLICANT, earliest=-45_000
    )
    DAYS_EMPLOYED: np.int32 = days_or_none("Start of the current employment")
    DAYS_REGISTRATION: float = days("Last change of the registered address")
    DAYS_ID_PUBLISH: np.int32 = days("Last change of the identity document used to apply")
    OWN_CAR_AGE: float = count("Age of the applicant's car", most=150, nullable=True, unit="years")
    FLAG_MOBIL: np.int8 = flag("A mobile phone number was given")
    FLAG_EMP_PHONE: np.int8 = flag("An employer's phone number was given")
    FLAG_WORK_PHONE: np.int8 = flag("A work phone number was given")
    FLAG_CONT_MOBILE: np.int8 = flag("The mobile phone could be reached")
    FLAG_PHONE: np.int8 = flag("A home phone number was given")
    FLAG_EMAIL: np.int8 = flag("An e-mail address was given")
    OCCUPATION_TYPE: str = category("Occupation", OCCUPATIONS, nullable=True)
    CNT_FAM_MEMBERS: float = count("Number of family members", least=1, most=50, nullable=True)
    REGION_RATING_CLIENT: np.int8 = pa.Field(
        isin=[1, 2, 3],
        description="The lender's rating of the region where the applicant lives; 3 is the riskiest",
    )
    REGION_RATING_CLIENT_W_CITY: np.int8 = pa.Field(
        isin=[-1, 1, 2, 3],
        description="The same rating with the city taken into account; -1 means unknown",
    )
    WEEKDAY_APPR_PROCESS_START: str = category("Day of the week of the application", WEEKDAYS)
    HOUR_APPR_PROCESS_START: np.int8 = count("Hour of the day of the application", most=23, unit="hour, 0 to 23")
    REG_REGION_NOT_LIVE_REGION: np.int8 = flag("Registered and contact address lie in different regions")
    REG_REGION_NOT_WORK_REGION: np.int8 = flag("Registered and work address lie in different regions")
    LIVE_REGION_NOT_WORK_REGION: np.int8 = flag("Contact and work address lie in different regions")
    REG_CITY_NOT_LIVE_CITY: np.int8 = flag("Registered and contact address lie in different cities")
    REG_CITY_NOT_WORK_CITY: np.int8 = flag("Registered and work address lie in different cities")
    LIVE_CITY_NOT_WORK_CITY: np.int8 = flag("Contact and work address lie in different cities")
    ORGANIZATION_TYPE: str = category(
        "Kind of organisation the applicant works for; XNA if there is none", ORGANIZATIONS
    )
    EXT_SOURCE_1: float = share("Score of the applicant from external source 1; higher is better")
    EXT_SOURCE_2: float = share("Score of the applicant from external source 2; higher is better")
    EXT_SOURCE_3: float = share("Score of the applicant from external source 3; higher is better")
    APARTMENTS_AVG: float = building("size of the apartments", "average")
    BASEMENTAREA_AVG: float = building("area of the basement", "average")
    YEARS_BEGINEXPLUATATION_AVG: float = building("years since the building came into use", "average")
    YEARS_BUILD_AVG: float = building("years since the building was built", "average")
    COMMONAREA_AVG: float = building("area shared by all residents", "average")
    ELEVATORS_AVG: float = building("number of lifts", "average")
    ENTRANCES_AVG: float = building("number of entrances", "average")
    FLOORSMAX_AVG: float = building("highest number of floors", "average")
    FLOORSMIN_AVG: float = building("lowest number of floors", "average")
    LANDAREA_AVG: float = building("area of the land", "average")
    LIVINGAPARTMENTS_AVG: float = building("size of the apartments lived in", "average")
    LIVINGAREA_AVG: float = building("area lived in", "average")
    NONLIVINGAPARTMENTS_AVG: float = building("size of the apartments not lived in", "average")
    NONLIVINGAREA_AVG: float = building("area not lived in", "average")
    APARTMENTS_MODE: float = building("size of the apartments", "most frequent")
    BASEMENTAREA_MODE: float = building("area of the basement", "most frequent")
    YEARS_BEGINEXPLUATATION_MODE: float = building("years since the building came into use", "most frequent")
    YEARS_BUILD_MODE: float = building("years since the building was built", "most frequent")
    COMMONAREA_MODE: float = building("area shared by all residents", "most frequent")
    ELEVATORS_MODE: float = building("number of lifts", "most frequent")
    ENTRANCES_MODE: float = building("number of entrances", "most frequent")
    FLOORSMAX_MODE: float = building("highest number of floors", "most frequent")
    FLOORSMIN_MODE: float = building("lowest number of floors", "most frequent")
    LANDAREA_MODE: float = building("area of the land", "most frequent")
    LIVINGAPARTMENTS_MODE: float = building("size of the apartments lived in", "most frequent")
    LIVINGAREA_MODE: float = building("area lived in", "most frequent")
    NONLIVINGAPARTMENTS_MODE: float = building("size of the apartments not lived in", "most frequent")
    NONLIVINGAREA_MODE: float = building("area not lived in", "most frequent")
    APARTMENTS_MEDI: float = building("size of the apartments", "median")
    BASEMENTAREA_MEDI: float = building("area of the basement", "median")
    YEARS_BEGINEXPLUATATION_MEDI: float = building("years since the building came into use", "median")
    YEARS_BUILD_MEDI: float = building("years since the building was built", "median")
    COMMONAREA_MEDI: float = building("area shared by all residents", "median")
    ELEVATORS_MEDI: float = building("number of lifts", "median")
    ENTRANCES_MEDI: float = building("number of entrances", "median")
    FLOORSMAX_MEDI: float = building("highest number of floors", "median")
    FLOORSMIN_MEDI: float = building("lowest number of floors", "median")
    LANDAREA_MEDI: float = building("area of the land", "median")
    LIVINGAPARTMENTS_MEDI: float = building("size of the apartments lived in", "median")
    LIVINGAREA_MEDI: float = building("area lived in", "median")
    NONLIVINGAPARTMENTS_MEDI: float = building("size of the apartments not lived in", "median")
    NONLIVINGAREA_MEDI: float = building("area not lived in", "median")
    FONDKAPREMONT_MODE: str = category("Fund that pays for major repairs of the building", REPAIR_FUNDS, nullable=True)
    HOUSETYPE_MODE: str = category("Type of building", HOUSE_TYPES, nullable=True)
    TOTALAREA_MODE: float = building("total area", "most frequent")
    WALLSMATERIAL_MODE: str = category("Material of the building's walls", WALL_MATERIALS, nullable=True)
    EMERGENCYSTATE_MODE: str = category("Whether the building is in a dangerous state", ("Yes", "No"), nullable=True)
    OBS_30_CNT_SOCIAL_CIRCLE: float = count(
        "People around the applicant whose loans were observed for 30 days past due", most=1000, nullable=True
    )
    DEF_30_CNT_SOCIAL_CIRCLE: float = count(
        "People around the applicant who were 30 days past due", most=1000, nullable=True
    )
    OBS_60_CNT_SOCIAL_CIRCLE: float = count(
        "People around the applicant whose loans were observed for 60 days past due", most=1000, nullable=True
    )
    DEF_60_CNT_SOCIAL_CIRCLE: float = count(
        "People around the applicant who were 60 days past due", most=1000, nullable=True
    )
    DAYS_LAST_PHONE_CHANGE: float = days("Last change of phone", nullable=True)
    FLAG_DOCUMENT_2: np.int8 = flag("Document 2 was given")
    FLAG_DOCUMENT_3: np.int8 = flag("Document 3 was given")
    FLAG_DOCUMENT_4: np.int8 = flag("Document 4 was given")
    FLAG_DOCUMENT_5: np.int8 = flag("Document 5 was given")
    FLAG_DOCUMENT_6: np.int8 = flag("Document 6 was given")
    FLAG_DOCUMENT_7: np.int8 = flag("Document 7 was given")
    FLAG_DOCUMENT_8: np.int8 = flag("Document 8 was given")
    FLAG_DOCUMENT_9: np.int8 = flag("Document 9 was given")
    FLAG_DOCUMENT_10: np.int8 = flag("Document 10 was given")
    FLAG_DOCUMENT_11: np.int8 = flag("Document 11 was given")
    FLAG_DOCUMENT_12: np.int8 = flag("Document 12 was given")
    FLAG_DOCUMENT_13: np.int8 = flag("Document 13 was given")
    FLAG_DOCUMENT_14: np.int8 = flag("Document 14 was given")
    FLAG_DOCUMENT_15: np.int8 = flag("Document 15 was given")
    FLAG_DOCUMENT_16: np.int8 = flag("Document 16 was given")
    FLAG_DOCUMENT_17: np.int8 = flag("Document 17 was given")
    FLAG_DOCUMENT_18: np.int8 = flag("Document 18 was given")
    FLAG_DOCUMENT_19: np.int8 = flag("Document 19 was given")
    FLAG_DOCUMENT_20: np.int8 = flag("Document 20 was given")
    FLAG_DOCUMENT_21: np.int8 = flag("Document 21 was given")
    AMT_REQ_CREDIT_BUREAU_HOUR: float = enquiries("hour before the application")
    AMT_REQ_CREDIT_BUREAU_DAY: float = enquiries("day before the application, less the last hour")
    AMT_REQ_CREDIT_BUREAU_WEEK: float = enquiries("week before the application, less the last day")
    AMT_REQ_CREDIT_BUREAU_MON: float = enquiries("month before the application, less the last week")
    AMT_REQ_CREDIT_BUREAU_QRT: float = enquiries("quarter before the application, less the last month")
    AMT_REQ_CREDIT_BUREAU_YEAR: float = enquiries("year before the application, less the last quarter")

    class Config:
        unique: ClassVar[list[str]] = ["SK_ID_CURR"]


class Outcomes(Table):
    """The outcomes of the loans, delivered once they are known: one row per applicant of the same batch."""

    SK_ID_CURR: np.int64 = key("Number of the application")
    TARGET: np.int8 = flag("The applicant had payment difficulties on the loan")

    relations = (Relation("SK_ID_CURR", "applications", "SK_ID_CURR"),)

    class Config:
        unique: ClassVar[list[str]] = ["SK_ID_CURR"]
