-- Credit bureau data: the applicant's loans at other lenders and their monthly history of delay.
-- One row per applicant with at least one such loan. Records dated after the application are
-- excluded: loans opened later, and records updated later, whose debt and status at the
-- application are unknown. Amounts are DECIMAL so that their sums are exact.
-- if no row: no loan on file at the credit bureau
with loans as (
    select
        SK_ID_CURR,
        SK_ID_BUREAU,
        CREDIT_ACTIVE = 'Active' as active,
        CREDIT_ACTIVE = 'Closed' as closed,
        CREDIT_ACTIVE,
        CREDIT_CURRENCY,
        CREDIT_TYPE,
        CREDIT_TYPE = 'Credit card' as card,
        CREDIT_DAY_OVERDUE,
        CNT_CREDIT_PROLONG,
        -DAYS_CREDIT as days_open,
        -DAYS_CREDIT_UPDATE as days_since_update,
        -DAYS_ENDDATE_FACT as days_since_closed,
        -- an end more than 50 years away means no agreed end (cards)
        case when DAYS_CREDIT_ENDDATE <= 18250 then DAYS_CREDIT_ENDDATE end as days_to_end,
        AMT_CREDIT_SUM::decimal(18, 3) as credit,
        AMT_CREDIT_SUM_DEBT::decimal(18, 3) as debt,
        AMT_CREDIT_SUM_LIMIT::decimal(18, 3) as credit_limit,
        AMT_CREDIT_SUM_OVERDUE::decimal(18, 3) as overdue,
        AMT_CREDIT_MAX_OVERDUE::decimal(18, 3) as max_overdue,
        AMT_ANNUITY::decimal(18, 3) as annuity
    from bureau
    where DAYS_CREDIT <= 0 and DAYS_CREDIT_UPDATE <= 0
),

applicant_loans as (
    select
        SK_ID_CURR,
        count(*) as loans,
        count(case when active then 1 end) as loans_active,
        count(case when closed then 1 end) as loans_closed,
        count(case when CREDIT_ACTIVE = 'Sold' then 1 end) as loans_sold,
        count(case when CREDIT_ACTIVE = 'Bad debt' then 1 end) as loans_bad_debt,
        count(distinct CREDIT_TYPE) as loan_types,
        count(case when CREDIT_CURRENCY <> 'currency 1' then 1 end) as loans_foreign,
        count(case when CREDIT_TYPE = 'Consumer credit' then 1 end) as consumer,
        count(case when card then 1 end) as cards,
        count(case when CREDIT_TYPE = 'Car loan' then 1 end) as car,
        count(case when CREDIT_TYPE = 'Mortgage' then 1 end) as mortgage,
        count(case when CREDIT_TYPE = 'Microloan' then 1 end) as micro,
        count(case when CREDIT_TYPE not in ('Consumer credit', 'Credit card', 'Car loan', 'Mortgage', 'Microloan') then 1 end) as other,
        count(case when CREDIT_TYPE = 'Consumer credit' and active then 1 end) as consumer_active,
        count(case when card and active then 1 end) as cards_active,
        count(case when CREDIT_TYPE = 'Car loan' and active then 1 end) as car_active,
        count(case when CREDIT_TYPE = 'Mortgage' and active then 1 end) as mortgage_active,
        count(case when CREDIT_TYPE = 'Microloan' and active then 1 end) as micro_active,

        sum(credit) as credit_sum,
        avg(credit) as credit_mean,
        max(credit) as credit_max,
        sum(case when active then credit end) as credit_active,
        avg(case when closed then credit end) as credit_closed_mean,
        sum(case when active then debt end) as debt_active,
        max(debt) as debt_max,
        avg(case when active then debt end) as debt_active_mean,
        sum(case when active and CREDIT_TYPE = 'Consumer credit' then debt end) as debt_consumer,
        sum(case when active and card then debt end) as debt_cards,
        sum(case when active and CREDIT_TYPE = 'Mortgage' then debt end) as debt_mortgage,
        sum(case when active and days_open <= 365 then debt end) as debt_opened_year,
        sum(case when active and days_to_end between 0 and 365 then debt end) as debt_due_year,
        -- only if both are known, so that the ratio compares the same loans
        sum(case when active and debt is not null then credit end) as credit_with_debt,
        max(case when active then debt / nullif(credit, 0) end) as debt_to_credit_max,
        count(case when active and debt >= credit and credit > 0 then 1 end) as loans_fully_owed,
        sum(case when active then credit_limit end) as limit_active,
        -- the source's limit is the unused part of a card, so its full limit is limit plus debt
        sum(case when active and card then coalesce(credit_limit, 0) + coalesce(debt, 0) end) as card_ceiling,
        sum(overdue) as overdue_sum,
        max(CREDIT_DAY_OVERDUE) as days_overdue_max,
        count(case when CREDIT_DAY_OVERDUE > 0 then 1 end) as loans_overdue,
        max(max_overdue) as max_overdue_max,
        avg(max_overdue) as max_overdue_mean,
        max(case when days_open <= 730 then max_overdue end) as max_overdue_max_730,
        count(case when max_overdue > 0 then 1 end) as loans_ever_overdue,
        count(max_overdue) as loans_overdue_known,
        sum(case when active then annuity end) as annuity_active,

        sum(CNT_CREDIT_PROLONG) as prolongations,
        max(CNT_CREDIT_PROLONG) as prolongations_max,
        count(case when CNT_CREDIT_PROLONG > 0 then 1 end) as loans_prolonged,
        min(case when CNT_CREDIT_PROLONG > 0 then days_open end) as days_since_prolonged,

        min(days_open) as days_since_newest,
        max(days_open) as days_since_oldest,
        min(case when active then days_open end) as days_since_newest_active,
        min(case when card then days_open end) as days_since_newest_card,
        min(case when CREDIT_TYPE = 'Microloan' then days_open end) as days_since_newest_micro,
        min(days_since_closed) as days_since_last_closed,
        min(days_since_update) as days_since_update,
        avg(days_open) as days_open_mean,
        avg(case when active then days_open end) as days_open_active_mean,

        avg((days_open + days_to_end)::integer) as planned_days_mean,
        avg(case when closed then (days_open - days_since_closed)::integer end) as actual_days_mean,
        avg(case when closed then (days_to_end + days_since_closed)::integer end) as closed_early_days_mean,
        count(case when closed and days_to_end + days_since_closed > 0 then 1 end) as loans_closed_early,
        count(case when closed and days_to_end + days_since_closed < 0 then 1 end) as loans_closed_late,
        count(case when closed and days_to_end + days_since_closed is not null then 1 end) as loans_closed_known,
        max(case when active then days_to_end end) as days_to_end_max,
        avg(case when active and days_to_end >= 0 then days_to_end::integer end) as days_to_end_mean,
        count(case when active and days_to_end < 0 then 1 end) as loans_past_end,

        count(case when days_open <= 90 then 1 end) as opened_90,
        count(case when days_open <= 180 then 1 end) as opened_180,
        count(case when days_open <= 365 then 1 end) as opened_365,
        count(case when days_open <= 730 then 1 end) as opened_730,
        count(case when days_open <= 1825 then 1 end) as opened_1825,
        count(case when days_open between 366 and 730 then 1 end) as opened_year_before,
        count(case when card and days_open <= 365 then 1 end) as cards_365,
        count(case when CREDIT_TYPE = 'Microloan' and days_open <= 365 then 1 end) as micro_365,
        count(case when days_since_closed <= 365 then 1 end) as closed_365,
        sum(case when days_open <= 365 then credit end) as credit_365,
        sum(case when days_open <= 730 then credit end) as credit_730
    from loans
    group by SK_ID_CURR
),

-- C (closed) and X (unknown) carry no information about delay; 1 to 5 are increasing delays
months as (
    select
        SK_ID_BUREAU,
        MONTHS_BALANCE,
        case STATUS when '0' then 0 when '1' then 1 when '2' then 2 when '3' then 3 when '4' then 4 when '5' then 5 end
            as delay
    from bureau_balance
    where MONTHS_BALANCE <= 0 and STATUS not in ('C', 'X')
),

loan_months as (
    select
        SK_ID_BUREAU,
        count(*) as known,
        count(case when MONTHS_BALANCE >= -3 then 1 end) as known_3,
        count(case when MONTHS_BALANCE >= -6 then 1 end) as known_6,
        count(case when MONTHS_BALANCE >= -12 then 1 end) as known_12,
        count(case when MONTHS_BALANCE >= -24 then 1 end) as known_24,
        count(case when MONTHS_BALANCE between -24 and -13 then 1 end) as known_13_24
    from months
    group by SK_ID_BUREAU
),

late_months as (
    select
        SK_ID_BUREAU,
        MONTHS_BALANCE,
        delay,
        -- consecutive late months of a loan share this number
        MONTHS_BALANCE - row_number() over (partition by SK_ID_BUREAU order by MONTHS_BALANCE) as run
    from months
    where delay > 0
),

late_runs as (
    select SK_ID_BUREAU, run, count(*) as months
    from late_months
    group by SK_ID_BUREAU, run
),

loan_runs as (
    select SK_ID_BUREAU, max(months) as longest, count(*) as runs
    from late_runs
    group by SK_ID_BUREAU
),

loan_delays as (
    select
        SK_ID_BUREAU,
        count(*) as late,
        count(case when MONTHS_BALANCE >= -3 then 1 end) as late_3,
        count(case when MONTHS_BALANCE >= -6 then 1 end) as late_6,
        count(case when MONTHS_BALANCE >= -12 then 1 end) as late_12,
        count(case when MONTHS_BALANCE >= -24 then 1 end) as late_24,
        count(case when MONTHS_BALANCE between -24 and -13 then 1 end) as late_13_24,
        count(case when delay >= 2 then 1 end) as seriously_late,
        count(case when delay >= 2 and MONTHS_BALANCE >= -24 then 1 end) as seriously_late_24,
        max(delay) as worst,
        max(case when MONTHS_BALANCE >= -12 then delay end) as worst_12,
        max(case when MONTHS_BALANCE >= -24 then delay end) as worst_24,
        max(MONTHS_BALANCE) as last_late,
        max(case when delay >= 2 then MONTHS_BALANCE end) as last_seriously_late,
        sum(delay) as delay_sum
    from late_months
    group by SK_ID_BUREAU
),

loan_reports as (
    select
        SK_ID_BUREAU,
        count(*) as reported,
        min(MONTHS_BALANCE) as first_reported,
        count(case when STATUS = 'X' then 1 end) as unknown,
        count(case when STATUS = 'C' then 1 end) as closed
    from bureau_balance
    where MONTHS_BALANCE <= 0
    group by SK_ID_BUREAU
),

applicant_months as (
    select
        loans.SK_ID_CURR,
        count(*) as loans,
        sum(reported) as reported,
        min(first_reported) as first_reported,
        sum(unknown) as unknown,
        sum(loan_reports.closed) as closed,
        sum(known) as known,
        sum(known_3) as known_3,
        sum(known_6) as known_6,
        sum(known_12) as known_12,
        sum(known_24) as known_24,
        sum(known_13_24) as known_13_24,
        coalesce(sum(late), 0) as late,
        coalesce(sum(late_3), 0) as late_3,
        coalesce(sum(late_6), 0) as late_6,
        coalesce(sum(late_12), 0) as late_12,
        coalesce(sum(late_24), 0) as late_24,
        coalesce(sum(late_13_24), 0) as late_13_24,
        coalesce(sum(seriously_late), 0) as seriously_late,
        coalesce(sum(seriously_late_24), 0) as seriously_late_24,
        coalesce(max(worst), 0) as worst,
        coalesce(max(worst_12), 0) as worst_12,
        coalesce(max(worst_24), 0) as worst_24,
        max(last_late) as last_late,
        max(last_seriously_late) as last_seriously_late,
        coalesce(sum(delay_sum), 0) as delay_sum,
        coalesce(max(longest), 0) as longest_late_run,
        coalesce(sum(runs), 0) as late_runs,
        count(late) as loans_late
    from loans
    inner join loan_reports using (SK_ID_BUREAU)
    left join loan_months using (SK_ID_BUREAU)
    left join loan_delays using (SK_ID_BUREAU)
    left join loan_runs using (SK_ID_BUREAU)
    group by loans.SK_ID_CURR
)

select
    SK_ID_CURR,

    -- numbers and types of loans
    applicant_loans.loans::double as bureau_loans, -- number of loans known to the credit bureau
    loans_active::double as bureau_loans_active, -- number of open loans at other lenders
    loans_closed::double as bureau_loans_closed, -- number of closed loans at other lenders
    loans_sold::double as bureau_loans_sold, -- number of loans sold on by other lenders; family: loans sold or written off by other lenders
    loans_bad_debt::double as bureau_loans_bad_debt, -- number of loans written off as bad debt by other lenders; family: loans sold or written off by other lenders
    loans_active / applicant_loans.loans as bureau_active_share, -- share of loans at other lenders that are still open
    loan_types::double as bureau_loan_types, -- number of different kinds of loans at other lenders
    loans_foreign::double as bureau_loans_foreign_currency, -- number of loans at other lenders in a foreign currency
    consumer::double as bureau_consumer_loans, -- number of consumer loans at other lenders
    cards::double as bureau_cards, -- number of credit cards at other lenders
    car::double as bureau_car_loans, -- number of car loans at other lenders
    mortgage::double as bureau_mortgages, -- number of mortgages at other lenders
    micro::double as bureau_microloans, -- number of microloans at other lenders
    other::double as bureau_other_loans, -- number of other kinds of loans at other lenders
    consumer_active::double as bureau_consumer_loans_active, -- number of open consumer loans at other lenders
    cards_active::double as bureau_cards_active, -- number of open credit cards at other lenders
    car_active::double as bureau_car_loans_active, -- number of open car loans at other lenders
    mortgage_active::double as bureau_mortgages_active, -- number of open mortgages at other lenders
    micro_active::double as bureau_microloans_active, -- number of open microloans at other lenders

    -- amounts, debt and utilisation of limits
    credit_sum::double as bureau_credit_sum, -- total amount of all loans at other lenders; family: amounts of loans at other lenders
    credit_mean as bureau_credit_mean, -- average amount of a loan at other lenders; family: amounts of loans at other lenders
    credit_max::double as bureau_credit_max, -- largest loan at other lenders; family: amounts of loans at other lenders
    credit_active::double as bureau_credit_active, -- total amount of open loans at other lenders; family: amounts of loans at other lenders
    credit_closed_mean as bureau_credit_closed_mean, -- average amount of closed loans at other lenders; family: amounts of loans at other lenders
    debt_active::double as bureau_debt, -- debt owed on open loans at other lenders; family: debt at other lenders
    debt_max::double as bureau_debt_max, -- largest debt owed on one loan at other lenders; family: debt at other lenders
    debt_active_mean as bureau_debt_mean, -- average debt owed on an open loan at other lenders; family: debt at other lenders
    debt_consumer::double as bureau_debt_consumer, -- debt owed on consumer loans at other lenders; family: debt at other lenders
    debt_cards::double as bureau_debt_cards, -- debt owed on credit cards at other lenders; family: debt at other lenders
    debt_mortgage::double as bureau_debt_mortgage, -- debt owed on mortgages at other lenders; family: debt at other lenders
    debt_opened_year::double as bureau_debt_new, -- debt owed on loans taken at other lenders in the last 12 months; family: debt at other lenders
    debt_due_year::double as bureau_debt_due_365, -- debt on loans at other lenders that end within 12 months; family: debt at other lenders
    debt_active / nullif(credit_with_debt, 0) as bureau_debt_to_credit, -- debt compared with the amount of open loans at other lenders; family: debt at other lenders
    debt_to_credit_max as bureau_debt_to_credit_max, -- highest debt compared with the amount of one open loan at another lender; family: debt at other lenders
    debt_cards / nullif(debt_active, 0) as bureau_card_debt_share, -- share of credit card debt in the debt at other lenders; family: debt at other lenders
    loans_fully_owed::double as bureau_loans_fully_owed, -- number of open loans at other lenders with nothing paid back yet; family: debt at other lenders
    limit_active::double as bureau_limit, -- credit limit left at other lenders; family: credit card limits at other lenders
    debt_cards / nullif(card_ceiling, 0) as bureau_card_utilisation, -- share of credit card limits at other lenders in use; family: credit card limits at other lenders
    annuity_active::double as bureau_annuity, -- instalments to pay on open loans at other lenders

    -- overdue amounts and prolongations
    overdue_sum::double as bureau_overdue, -- amount overdue at other lenders; family: delays at other lenders
    overdue_sum / nullif(debt_active, 0) as bureau_overdue_to_debt, -- amount overdue compared with debt at other lenders; family: delays at other lenders
    days_overdue_max::double as bureau_days_overdue_max, -- longest delay in days on a loan at another lender at present; family: delays at other lenders
    loans_overdue::double as bureau_loans_overdue, -- number of loans overdue at other lenders at present; family: delays at other lenders
    max_overdue_max::double as bureau_max_overdue, -- largest amount ever overdue at another lender; family: delays at other lenders
    max_overdue_mean as bureau_max_overdue_mean, -- average of the largest amounts ever overdue on loans at other lenders; family: delays at other lenders
    max_overdue_max_730::double as bureau_max_overdue_recent, -- largest amount overdue on loans taken at other lenders in the last 24 months; family: delays at other lenders
    loans_ever_overdue::double as bureau_loans_ever_overdue, -- number of loans at other lenders that were ever overdue; family: delays at other lenders
    loans_ever_overdue / nullif(loans_overdue_known, 0) as bureau_ever_overdue_share, -- share of loans at other lenders that were ever overdue; family: delays at other lenders
    prolongations::double as bureau_prolongations, -- number of prolongations of loans at other lenders; family: prolongations at other lenders
    prolongations_max::double as bureau_prolongations_max, -- most prolongations of one loan at another lender; family: prolongations at other lenders
    loans_prolonged / applicant_loans.loans as bureau_prolonged_share, -- share of loans at other lenders that were prolonged; family: prolongations at other lenders
    days_since_prolonged::double as bureau_days_since_prolonged, -- days since the newest of the prolonged loans at other lenders was taken; if missing: no prolonged loan at another lender on record; family: prolongations at other lenders

    -- recency
    days_since_newest::double as bureau_days_since_newest, -- days since the newest loan at another lender; family: new loans at other lenders
    days_since_oldest::double as bureau_days_since_oldest, -- days since the first loan at another lender; family: length of credit history at other lenders
    days_since_newest_active::double as bureau_days_since_newest_active, -- days since the newest open loan at another lender; if missing: no open loan at another lender on record; family: new loans at other lenders
    days_since_newest_card::double as bureau_days_since_newest_card, -- days since the newest credit card at another lender; if missing: no credit card at another lender on record; family: new loans at other lenders
    days_since_newest_micro::double as bureau_days_since_newest_microloan, -- days since the newest microloan at another lender; if missing: no microloan at another lender on record; family: new loans at other lenders
    days_since_last_closed::double as bureau_days_since_closed, -- days since a loan at another lender was last closed; if missing: no closed loan at another lender on record
    days_since_update::double as bureau_days_since_update, -- days since the credit bureau's record was last updated
    days_open_mean as bureau_loan_age_mean, -- average age in days of loans at other lenders; family: length of credit history at other lenders
    days_open_active_mean as bureau_loan_age_active_mean, -- average age in days of open loans at other lenders; if missing: no open loan at another lender with an age on record; family: length of credit history at other lenders
    (days_since_oldest - days_since_newest) / nullif(applicant_loans.loans - 1, 0) as bureau_days_between_loans, -- average days between taking loans at other lenders; if missing: no second loan at another lender on record; family: new loans at other lenders

    -- durations
    planned_days_mean as bureau_planned_days_mean, -- average agreed duration of loans at other lenders
    actual_days_mean as bureau_actual_days_mean, -- average actual duration of closed loans at other lenders
    closed_early_days_mean as bureau_closed_early_days_mean, -- average days that loans at other lenders were closed before their agreed end; family: loans at other lenders against their agreed end
    loans_closed_early / nullif(loans_closed_known, 0) as bureau_closed_early_share, -- share of loans at other lenders closed before their agreed end; family: loans at other lenders against their agreed end
    loans_closed_late::double as bureau_loans_closed_late, -- number of loans at other lenders closed after their agreed end; family: loans at other lenders against their agreed end
    days_to_end_max::double as bureau_days_to_end_max, -- days until the last open loan at another lender ends
    days_to_end_mean as bureau_days_to_end_mean, -- average days until open loans at other lenders end
    loans_past_end::double as bureau_loans_past_end, -- number of open loans at other lenders past their agreed end; family: loans at other lenders against their agreed end

    -- velocity
    opened_90::double as bureau_opened_90, -- number of loans taken at other lenders in the last 3 months; family: new loans at other lenders
    opened_180::double as bureau_opened_180, -- number of loans taken at other lenders in the last 6 months; family: new loans at other lenders
    opened_365::double as bureau_opened_365, -- number of loans taken at other lenders in the last 12 months; family: new loans at other lenders
    opened_730::double as bureau_opened_730, -- number of loans taken at other lenders in the last 24 months; family: new loans at other lenders
    opened_1825::double as bureau_opened_1825, -- number of loans taken at other lenders in the last 5 years; family: new loans at other lenders
    opened_365 / applicant_loans.loans as bureau_opened_365_share, -- share of loans at other lenders taken in the last 12 months; family: new loans at other lenders
    (opened_365 - opened_year_before)::double as bureau_opened_change, -- change in loans taken at other lenders between the year before last and the last year; family: new loans at other lenders
    cards_365::double as bureau_cards_365, -- number of credit cards taken at other lenders in the last 12 months; family: new loans at other lenders
    micro_365::double as bureau_microloans_365, -- number of microloans taken at other lenders in the last 12 months; family: new loans at other lenders
    closed_365::double as bureau_closed_365, -- number of loans at other lenders closed in the last 12 months
    credit_365::double as bureau_credit_365, -- amount of loans taken at other lenders in the last 12 months; family: amounts of loans at other lenders
    credit_730::double as bureau_credit_730, -- amount of loans taken at other lenders in the last 24 months; family: amounts of loans at other lenders
    credit_365 / nullif(credit_sum, 0) as bureau_credit_365_share, -- share of the amount of loans at other lenders taken in the last 12 months; family: amounts of loans at other lenders

    -- monthly history of delay
    applicant_months.loans::double as bureau_loans_with_history, -- number of loans at other lenders with a monthly history
    reported::double as bureau_months_reported, -- number of monthly reports on loans at other lenders
    unknown / reported as bureau_months_unknown_share, -- share of monthly reports at other lenders with unknown status
    late::double as bureau_months_late, -- number of months with a delay at other lenders; family: delays at other lenders
    late / nullif(known, 0) as bureau_late_share, -- share of months with a delay at other lenders; family: delays at other lenders
    late_3 / nullif(known_3, 0) as bureau_late_share_3, -- share of months with a delay at other lenders in the last 3 months; family: delays at other lenders
    late_6 / nullif(known_6, 0) as bureau_late_share_6, -- share of months with a delay at other lenders in the last 6 months; family: delays at other lenders
    late_12 / nullif(known_12, 0) as bureau_late_share_12, -- share of months with a delay at other lenders in the last 12 months; family: delays at other lenders
    late_24 / nullif(known_24, 0) as bureau_late_share_24, -- share of months with a delay at other lenders in the last 24 months; family: delays at other lenders
    late_12 / nullif(known_12, 0) - late_13_24 / nullif(known_13_24, 0) as bureau_late_share_change, -- change in the share of months with a delay at other lenders over the last year; family: delays at other lenders
    seriously_late::double as bureau_months_seriously_late, -- number of months with a delay over 30 days at other lenders; family: delays at other lenders
    seriously_late_24::double as bureau_months_seriously_late_24, -- number of months with a delay over 30 days at other lenders in the last 24 months; family: delays at other lenders
    worst::double as bureau_worst_delay, -- longest delay class ever at other lenders; family: delays at other lenders
    worst_12::double as bureau_worst_delay_12, -- longest delay class at other lenders in the last 12 months; family: delays at other lenders
    worst_24::double as bureau_worst_delay_24, -- longest delay class at other lenders in the last 24 months; family: delays at other lenders
    (-last_late)::double as bureau_months_since_late, -- months since the last delay at another lender; if missing: no month with a delay at another lender on record; family: delays at other lenders
    (-last_seriously_late)::double as bureau_months_since_seriously_late, -- months since the last delay over 30 days at another lender; if missing: no delay over 30 days at another lender on record; family: delays at other lenders
    delay_sum / nullif(known, 0) as bureau_delay_mean, -- average delay class over all months at other lenders; family: delays at other lenders
    longest_late_run::double as bureau_longest_late_run, -- longest run of months in a row with a delay on a loan at another lender; family: delays at other lenders
    late_runs::double as bureau_late_runs, -- number of separate spells of delay at other lenders; family: delays at other lenders
    loans_late::double as bureau_loans_late -- number of loans at other lenders with a month of delay; family: delays at other lenders
from applicant_loans
left join applicant_months using (SK_ID_CURR)
