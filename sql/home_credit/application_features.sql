-- Facts of the application: the requested loan, income, work, contacts, documents, address, external
-- scores, credit enquiries, acquaintances and the applicant's building. One row per applicant.
-- Excluded are gender, age and marital status, and the columns that reveal them (who accompanied the
-- applicant; the number of children together with the family size).
with application as (
    select
        *,
        -- zero means that the amount was not given
        nullif(AMT_INCOME_TOTAL, 0) as income,
        nullif(AMT_CREDIT, 0) as credit,
        nullif(AMT_ANNUITY, 0) as annuity,
        nullif(AMT_GOODS_PRICE, 0) as goods,
        nullif(CNT_FAM_MEMBERS, 0) as family,
        -- 365243 days is the source's code for "not employed"
        nullif(DAYS_EMPLOYED, 365243) as employed,
        (EXT_SOURCE_1 is not null)::integer
        + (EXT_SOURCE_2 is not null)::integer
        + (EXT_SOURCE_3 is not null)::integer as external_scores,
        FLAG_DOCUMENT_2 + FLAG_DOCUMENT_3 + FLAG_DOCUMENT_4 + FLAG_DOCUMENT_5 + FLAG_DOCUMENT_6
        + FLAG_DOCUMENT_7 + FLAG_DOCUMENT_8 + FLAG_DOCUMENT_9 + FLAG_DOCUMENT_10 + FLAG_DOCUMENT_11
        + FLAG_DOCUMENT_12 + FLAG_DOCUMENT_13 + FLAG_DOCUMENT_14 + FLAG_DOCUMENT_15 + FLAG_DOCUMENT_16
        + FLAG_DOCUMENT_17 + FLAG_DOCUMENT_18 + FLAG_DOCUMENT_19 + FLAG_DOCUMENT_20 + FLAG_DOCUMENT_21
            as documents,
        -- in the source, each window excludes the shorter ones inside it
        AMT_REQ_CREDIT_BUREAU_HOUR + AMT_REQ_CREDIT_BUREAU_DAY + AMT_REQ_CREDIT_BUREAU_WEEK
        + AMT_REQ_CREDIT_BUREAU_MON as enquiries_month,
        AMT_REQ_CREDIT_BUREAU_HOUR + AMT_REQ_CREDIT_BUREAU_DAY + AMT_REQ_CREDIT_BUREAU_WEEK
        + AMT_REQ_CREDIT_BUREAU_MON + AMT_REQ_CREDIT_BUREAU_QRT + AMT_REQ_CREDIT_BUREAU_YEAR
            as enquiries_year,
        (APARTMENTS_AVG is null)::integer + (BASEMENTAREA_AVG is null)::integer
        + (YEARS_BEGINEXPLUATATION_AVG is null)::integer + (YEARS_BUILD_AVG is null)::integer
        + (COMMONAREA_AVG is null)::integer + (ELEVATORS_AVG is null)::integer
        + (ENTRANCES_AVG is null)::integer + (FLOORSMAX_AVG is null)::integer
        + (FLOORSMIN_AVG is null)::integer + (LANDAREA_AVG is null)::integer
        + (LIVINGAPARTMENTS_AVG is null)::integer + (LIVINGAREA_AVG is null)::integer
        + (NONLIVINGAPARTMENTS_AVG is null)::integer + (NONLIVINGAREA_AVG is null)::integer
            as building_facts_missing
    from applications
),

application_with_mean_score as (
    select
        *,
        (coalesce(EXT_SOURCE_1, 0) + coalesce(EXT_SOURCE_2, 0) + coalesce(EXT_SOURCE_3, 0))
        / nullif(external_scores, 0) as mean_score
    from application
)

select
    SK_ID_CURR,

    -- requested loan
    NAME_CONTRACT_TYPE as contract_type, -- kind of loan applied for
    AMT_CREDIT as credit_amount, -- amount of the loan applied for
    AMT_ANNUITY as annuity_amount, -- instalment of the loan applied for
    AMT_GOODS_PRICE as goods_price, -- price of the goods the loan would pay for
    AMT_INCOME_TOTAL as income_total, -- income stated in the application
    AMT_CREDIT / income as credit_to_income, -- loan amount compared with income
    AMT_ANNUITY / income as annuity_to_income, -- loan instalment compared with income
    AMT_GOODS_PRICE / income as goods_to_income, -- price of the goods compared with income
    AMT_CREDIT / goods as credit_to_goods, -- loan amount compared with the price of the goods
    AMT_CREDIT - AMT_GOODS_PRICE as credit_above_goods, -- part of the loan that exceeds the price of the goods
    AMT_CREDIT / annuity as credit_to_annuity, -- number of instalments the loan amount corresponds to
    income - AMT_ANNUITY as income_less_annuity, -- income left after one loan instalment
    HOUR_APPR_PROCESS_START::double as application_hour, -- hour of the day at which the application was made
    WEEKDAY_APPR_PROCESS_START as application_weekday, -- day of the week on which the application was made

    -- household and property
    CNT_FAM_MEMBERS as family_members, -- number of family members
    AMT_INCOME_TOTAL / family as income_per_family_member, -- income for each family member
    AMT_CREDIT / family as credit_per_family_member, -- loan amount for each family member
    AMT_ANNUITY / family as annuity_per_family_member, -- loan instalment for each family member
    (FLAG_OWN_CAR = 'Y')::double as owns_car, -- ownership of a car
    OWN_CAR_AGE as car_age_years, -- age of the car in years; if missing: no car, or its age not stated
    (FLAG_OWN_REALTY = 'Y')::double as owns_home, -- ownership of a house or flat
    NAME_HOUSING_TYPE as housing, -- housing situation

    -- work
    NAME_INCOME_TYPE as income_type, -- source of income
    NAME_EDUCATION_TYPE as education, -- level of education
    OCCUPATION_TYPE as occupation, -- occupation; if missing: occupation not stated
    nullif(ORGANIZATION_TYPE, 'XNA') as organisation, -- type of employer; if missing: type of employer not stated
    (DAYS_EMPLOYED = 365243)::double as not_employed, -- absence of current employment; family: current employment
    -employed::double as days_employed, -- length of current employment in days; if missing: no current employment stated; family: current employment
    AMT_INCOME_TOTAL / nullif(1 - employed, 0) as income_to_days_employed, -- income compared with length of current employment; if missing: no current employment to compare income with
    AMT_CREDIT / nullif(1 - employed, 0) as credit_to_days_employed, -- loan amount compared with length of current employment; if missing: no current employment to compare the loan amount with
    DAYS_LAST_PHONE_CHANGE / nullif(employed - 1, 0) as phone_change_to_days_employed, -- time since the last phone change compared with length of current employment; if missing: no current employment to compare the last phone change with

    -- contacts and documents
    -DAYS_REGISTRATION as days_since_registration, -- days since the last change of registered address
    -DAYS_ID_PUBLISH::double as days_since_id_issued, -- days since the identity document was last changed
    -DAYS_LAST_PHONE_CHANGE as days_since_phone_change, -- days since the phone number was last changed
    FLAG_EMP_PHONE::double as has_employer_phone, -- employer's phone number given; family: ways of contact
    FLAG_WORK_PHONE::double as has_work_phone, -- work phone number given; family: ways of contact
    FLAG_CONT_MOBILE::double as mobile_reachable, -- mobile phone reachable; family: ways of contact
    FLAG_PHONE::double as has_home_phone, -- home phone number given; family: ways of contact
    FLAG_EMAIL::double as has_email, -- e-mail address given; family: ways of contact
    (FLAG_MOBIL + FLAG_EMP_PHONE + FLAG_WORK_PHONE + FLAG_PHONE + FLAG_EMAIL)::double as contacts_given, -- number of ways of contact given; family: ways of contact
    -- each of the ten omitted documents is given by fewer than one applicant in a thousand
    documents::double as documents_given, -- number of supporting documents provided; family: supporting documents
    FLAG_DOCUMENT_3::double as document_3_given, -- supporting document number 3 provided; family: supporting documents
    FLAG_DOCUMENT_5::double as document_5_given, -- supporting document number 5 provided; family: supporting documents
    FLAG_DOCUMENT_6::double as document_6_given, -- supporting document number 6 provided; family: supporting documents
    FLAG_DOCUMENT_8::double as document_8_given, -- supporting document number 8 provided; family: supporting documents
    FLAG_DOCUMENT_9::double as document_9_given, -- supporting document number 9 provided; family: supporting documents
    FLAG_DOCUMENT_11::double as document_11_given, -- supporting document number 11 provided; family: supporting documents
    FLAG_DOCUMENT_13::double as document_13_given, -- supporting document number 13 provided; family: supporting documents
    FLAG_DOCUMENT_14::double as document_14_given, -- supporting document number 14 provided; family: supporting documents
    FLAG_DOCUMENT_16::double as document_16_given, -- supporting document number 16 provided; family: supporting documents
    FLAG_DOCUMENT_18::double as document_18_given, -- supporting document number 18 provided; family: supporting documents

    -- region of home and work
    REGION_POPULATION_RELATIVE as region_population, -- population of the region lived in
    REGION_RATING_CLIENT::double as region_rating, -- lender's rating of the region lived in; family: rating of the region lived in
    REGION_RATING_CLIENT_W_CITY::double as region_rating_with_city, -- lender's rating of the region and city lived in; family: rating of the region lived in
    REG_REGION_NOT_LIVE_REGION::double as registered_outside_home_region, -- registered address in another region than the home address; family: addresses
    REG_REGION_NOT_WORK_REGION::double as registered_outside_work_region, -- registered address in another region than the work address; family: addresses
    LIVE_REGION_NOT_WORK_REGION::double as home_outside_work_region, -- home address in another region than the work address; family: addresses
    REG_CITY_NOT_LIVE_CITY::double as registered_outside_home_city, -- registered address in another city than the home address; family: addresses
    REG_CITY_NOT_WORK_CITY::double as registered_outside_work_city, -- registered address in another city than the work address; family: addresses
    LIVE_CITY_NOT_WORK_CITY::double as home_outside_work_city, -- home address in another city than the work address; family: addresses
    (
        REG_REGION_NOT_LIVE_REGION + REG_REGION_NOT_WORK_REGION + LIVE_REGION_NOT_WORK_REGION
        + REG_CITY_NOT_LIVE_CITY + REG_CITY_NOT_WORK_CITY + LIVE_CITY_NOT_WORK_CITY
    )::double as address_mismatches, -- number of mismatches between registered, home and work addresses; family: addresses

    -- external scores: higher is safer
    EXT_SOURCE_1 as external_score_1, -- credit rating from the first external source; if missing: no credit rating from the first external source; family: external credit ratings
    EXT_SOURCE_2 as external_score_2, -- credit rating from the second external source; if missing: no credit rating from the second external source; family: external credit ratings
    EXT_SOURCE_3 as external_score_3, -- credit rating from the third external source; if missing: no credit rating from the third external source; family: external credit ratings
    mean_score as external_score_mean, -- average of the external credit ratings; if missing: no external credit rating; family: external credit ratings
    least(EXT_SOURCE_1, EXT_SOURCE_2, EXT_SOURCE_3) as external_score_min, -- lowest of the external credit ratings; if missing: no external credit rating; family: external credit ratings
    greatest(EXT_SOURCE_1, EXT_SOURCE_2, EXT_SOURCE_3) as external_score_max, -- highest of the external credit ratings; if missing: no external credit rating; family: external credit ratings
    greatest(EXT_SOURCE_1, EXT_SOURCE_2, EXT_SOURCE_3)
    - least(EXT_SOURCE_1, EXT_SOURCE_2, EXT_SOURCE_3) as external_score_range, -- disagreement between the external credit ratings; if missing: no external credit rating; family: external credit ratings
    EXT_SOURCE_1 * EXT_SOURCE_2 * EXT_SOURCE_3 as external_score_product, -- first, second and third external credit ratings combined; if missing: one of the three external credit ratings not available; family: external credit ratings
    EXT_SOURCE_1 * EXT_SOURCE_2 as external_score_1_and_2, -- first and second external credit ratings combined; if missing: first or second external credit rating not available; family: external credit ratings
    EXT_SOURCE_1 * EXT_SOURCE_3 as external_score_1_and_3, -- first and third external credit ratings combined; if missing: first or third external credit rating not available; family: external credit ratings
    EXT_SOURCE_2 * EXT_SOURCE_3 as external_score_2_and_3, -- second and third external credit ratings combined; if missing: second or third external credit rating not available; family: external credit ratings
    (3 - external_scores)::double as external_scores_missing, -- number of external credit ratings not available; family: external credit ratings
    mean_score * income / credit as external_score_by_income_to_credit, -- external credit ratings together with income compared with the loan amount; if missing: no external credit rating to set against income and loan amount; family: external credit ratings

    -- enquiries at the credit bureau
    AMT_REQ_CREDIT_BUREAU_HOUR as enquiries_last_hour, -- credit bureau enquiries in the hour before the application; family: credit bureau enquiries
    AMT_REQ_CREDIT_BUREAU_DAY as enquiries_last_day, -- credit bureau enquiries in the day before the application, its last hour left out; family: credit bureau enquiries
    AMT_REQ_CREDIT_BUREAU_WEEK as enquiries_last_week, -- credit bureau enquiries in the week before the application, its last day left out; family: credit bureau enquiries
    AMT_REQ_CREDIT_BUREAU_MON as enquiries_last_month, -- credit bureau enquiries in the month before the application, its last week left out; family: credit bureau enquiries
    AMT_REQ_CREDIT_BUREAU_QRT as enquiries_last_quarter, -- credit bureau enquiries in the quarter before the application, its last month left out; family: credit bureau enquiries
    AMT_REQ_CREDIT_BUREAU_YEAR as enquiries_last_year, -- credit bureau enquiries in the year before the application, its last quarter left out; family: credit bureau enquiries
    enquiries_year as enquiries_total, -- credit bureau enquiries in the whole year before the application; family: credit bureau enquiries
    enquiries_month as enquiries_recent, -- credit bureau enquiries in the whole month before the application; family: credit bureau enquiries
    enquiries_month / nullif(enquiries_year, 0) as enquiries_recent_share, -- share of the year's credit bureau enquiries made in the last month; if missing: no credit bureau enquiries known in the year before the application; family: credit bureau enquiries

    -- acquaintances
    OBS_30_CNT_SOCIAL_CIRCLE as acquaintances_observed_30, -- number of acquaintances with loans watched for 30 days late; family: loans of acquaintances
    DEF_30_CNT_SOCIAL_CIRCLE as acquaintances_late_30, -- number of acquaintances more than 30 days late on a loan; family: loans of acquaintances
    OBS_60_CNT_SOCIAL_CIRCLE as acquaintances_observed_60, -- number of acquaintances with loans watched for 60 days late; family: loans of acquaintances
    DEF_60_CNT_SOCIAL_CIRCLE as acquaintances_late_60, -- number of acquaintances more than 60 days late on a loan; family: loans of acquaintances
    DEF_30_CNT_SOCIAL_CIRCLE / nullif(round(OBS_30_CNT_SOCIAL_CIRCLE, 3), 0) as acquaintances_late_30_share, -- share of acquaintances more than 30 days late on a loan; if missing: no acquaintances known with loans watched for 30 days late; family: loans of acquaintances
    DEF_60_CNT_SOCIAL_CIRCLE / nullif(round(OBS_60_CNT_SOCIAL_CIRCLE, 3), 0) as acquaintances_late_60_share, -- share of acquaintances more than 60 days late on a loan; if missing: no acquaintances known with loans watched for 60 days late; family: loans of acquaintances

    -- the applicant's building; the source's MODE and MEDI columns carry the same information as AVG
    APARTMENTS_AVG as building_apartments, -- number of flats in the building lived in; family: building lived in
    BASEMENTAREA_AVG as building_basement_area, -- basement area of the building lived in; family: building lived in
    YEARS_BEGINEXPLUATATION_AVG as building_years_in_use, -- years the building lived in has been in use; family: building lived in
    YEARS_BUILD_AVG as building_years_since_built, -- age of the building lived in; family: building lived in
    COMMONAREA_AVG as building_common_area, -- shared area of the building lived in; family: building lived in
    ELEVATORS_AVG as building_lifts, -- number of lifts in the building lived in; family: building lived in
    ENTRANCES_AVG as building_entrances, -- number of entrances of the building lived in; family: building lived in
    FLOORSMAX_AVG as building_floors_max, -- highest number of floors of the building lived in; family: building lived in
    FLOORSMIN_AVG as building_floors_min, -- lowest number of floors of the building lived in; family: building lived in
    LANDAREA_AVG as building_land_area, -- land area of the building lived in; family: building lived in
    LIVINGAPARTMENTS_AVG as building_living_apartments, -- number of residential flats in the building lived in; family: building lived in
    LIVINGAREA_AVG as building_living_area, -- residential area of the building lived in; family: building lived in
    NONLIVINGAPARTMENTS_AVG as building_other_apartments, -- number of non-residential flats in the building lived in; family: building lived in
    NONLIVINGAREA_AVG as building_other_area, -- non-residential area of the building lived in; family: building lived in
    TOTALAREA_MODE as building_total_area, -- total area of the building lived in; family: building lived in
    building_facts_missing::double as building_facts_missing, -- number of missing facts about the building lived in; family: building lived in
    FONDKAPREMONT_MODE as building_repair_fund, -- repair fund of the building lived in; family: building lived in
    HOUSETYPE_MODE as building_type, -- type of the building lived in; family: building lived in
    WALLSMATERIAL_MODE as building_walls, -- wall material of the building lived in; family: building lived in
    EMERGENCYSTATE_MODE as building_emergency_state -- emergency state of the building lived in; family: building lived in
from application_with_mean_score
