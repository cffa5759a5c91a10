-- Monthly data of the applicant's credit cards from this lender: utilisation of the limit and its trend,
-- drawings, cash withdrawals, payments relative to the minimum, days past due.
-- One row per applicant with at least one card month before the application; later months are excluded.
-- Amounts are DECIMAL and shares are rounded to six decimals, so that sums over months are exact.
-- if no row: no credit card from us
with months as (
    select
        SK_ID_CURR,
        SK_ID_PREV,
        MONTHS_BALANCE::integer as month,
        case when MONTHS_BALANCE >= -3 then 3 when MONTHS_BALANCE >= -6 then 6 when MONTHS_BALANCE >= -12 then 12 else 999 end
            as period,
        AMT_BALANCE::decimal(18, 3) as balance,
        AMT_CREDIT_LIMIT_ACTUAL::decimal(18, 3) as credit_limit,
        (AMT_BALANCE / nullif(AMT_CREDIT_LIMIT_ACTUAL, 0))::decimal(18, 6) as used,
        AMT_DRAWINGS_CURRENT::decimal(18, 3) as drawn,
        AMT_DRAWINGS_ATM_CURRENT::decimal(18, 3) as drawn_cash,
        AMT_DRAWINGS_POS_CURRENT::decimal(18, 3) as drawn_goods,
        CNT_DRAWINGS_CURRENT::integer as drawings,
        CNT_DRAWINGS_ATM_CURRENT::integer as drawings_cash,
        AMT_PAYMENT_TOTAL_CURRENT::decimal(18, 3) as paid,
        AMT_INST_MIN_REGULARITY::decimal(18, 3) as minimum,
        -- no payment was due
        AMT_INST_MIN_REGULARITY > 0 as owing,
        AMT_RECEIVABLE_PRINCIPAL::decimal(18, 3) as principal,
        AMT_TOTAL_RECEIVABLE::decimal(18, 3) as receivable,
        CNT_INSTALMENT_MATURE_CUM::integer as instalments,
        SK_DPD as days_past_due,
        SK_DPD_DEF as days_seriously_past_due
    from credit_card_balance
    where MONTHS_BALANCE <= 0
),

-- windows are sums of disjoint periods, which is faster than reading the rows for each window
periods as (
    select
        SK_ID_CURR,
        period,
        count(*) as months,
        count(used) as months_used,
        sum(used) as used,
        max(used) as used_max,
        -- more digits than the factors, since a balance may be thousands of times a limit
        sum(used::decimal(38, 6) * used) as used_squared,
        sum(case when used is not null then month end) as month_sum,
        sum(case when used is not null then month * month end) as month_squared,
        sum(used * month) as used_month,
        count(case when used > 0.9 then 1 end) as nearly_full,
        count(case when used > 1 then 1 end) as over_limit,
        sum(balance) as balance,
        max(balance) as balance_max,
        count(case when balance > 0 then 1 end) as with_balance,
        max(credit_limit) as limit_max,
        sum(drawn) as drawn,
        max(drawn) as drawn_max,
        sum(drawn_cash) as drawn_cash,
        sum(drawn_goods) as drawn_goods,
        sum(drawings) as drawings,
        sum(drawings_cash) as drawings_cash,
        count(case when drawings > 0 then 1 end) as active,
        count(case when drawings_cash > 0 then 1 end) as active_cash,
        max(case when drawings > 0 then month end) as last_drawing,
        sum(paid) as paid,
        count(case when owing then 1 end) as owing,
        count(case when owing and paid < minimum then 1 end) as below_minimum,
        count(case when owing and paid between minimum and 1.2 * minimum then 1 end) as at_minimum,
        sum(case when owing then paid end) as paid_owing,
        sum(case when owing then minimum end) as minimum,
        sum(receivable - principal) as charges,
        count(case when days_past_due > 0 then 1 end) as late,
        count(case when days_seriously_past_due > 0 then 1 end) as seriously_late,
        max(days_past_due) as days_late_max,
        max(days_seriously_past_due) as days_seriously_late_max,
        max(case when days_past_due > 0 then month end) as last_late
    from months
    group by SK_ID_CURR, period
),

history as (
    select
        SK_ID_CURR,
        sum(months) as months,
        sum(case when period <= 3 then months end) as months_3,
        sum(case when period <= 12 then months end) as months_12,
        sum(case when period > 12 then months end) as months_before,
        sum(months_used) as months_used,
        sum(case when period <= 3 then months_used end) as months_used_3,
        sum(case when period <= 6 then months_used end) as months_used_6,
        sum(case when period <= 12 then months_used end) as months_used_12,
        sum(used)::double as used,
        sum(case when period <= 3 then used end)::double as used_3,
        sum(case when period <= 6 then used end)::double as used_6,
        sum(case when period <= 12 then used end)::double as used_12,
        max(used_max)::double as used_max,
        max(case when period <= 12 then used_max end)::double as used_max_12,
        sum(used_squared)::double as used_squared,
        sum(case when period <= 12 then used_squared end)::double as used_squared_12,
        sum(case when period <= 12 then month_sum end)::double as month_sum_12,
        sum(case when period <= 12 then month_squared end)::double as month_squared_12,
        sum(case when period <= 12 then used_month end)::double as used_month_12,
        sum(nearly_full) as nearly_full,
        sum(case when period <= 12 then nearly_full end) as nearly_full_12,
        sum(over_limit) as over_limit,
        sum(balance)::double as balance,
        sum(case when period <= 3 then balance end)::double as balance_3,
        max(balance_max)::double as balance_max,
        sum(with_balance) as with_balance,
        max(limit_max)::double as limit_max,
        sum(drawn)::double as drawn,
        sum(case when period <= 3 then drawn end)::double as drawn_3,
        sum(case when period <= 12 then drawn end)::double as drawn_12,
        max(drawn_max)::double as drawn_max,
        sum(drawn_cash)::double as drawn_cash,
        sum(case when period <= 12 then drawn_cash end)::double as drawn_cash_12,
        sum(drawn_goods)::double as drawn_goods,
        sum(drawings) as drawings,
        sum(case when period <= 12 then drawings end) as drawings_12,
        sum(drawings_cash) as drawings_cash,
        sum(case when period <= 3 then drawings_cash end) as drawings_cash_3,
        sum(active) as active,
        sum(active_cash) as active_cash,
        max(last_drawing) as last_drawing,
        sum(paid)::double as paid,
        sum(case when period <= 12 then paid end)::double as paid_12,
        sum(owing) as owing,
        sum(case when period <= 12 then owing end) as owing_12,
        sum(below_minimum) as below_minimum,
        sum(case when period <= 12 then below_minimum end) as below_minimum_12,
        sum(at_minimum) as at_minimum,
        sum(paid_owing)::double as paid_owing,
        sum(minimum)::double as minimum,
        sum(charges)::double as charges,
        sum(late) as late,
        sum(case when period <= 3 then late end) as late_3,
        sum(case when period <= 12 then late end) as late_12,
        sum(seriously_late) as seriously_late,
        sum(case when period <= 12 then seriously_late end) as seriously_late_12,
        max(days_late_max) as days_late_max,
        max(case when period <= 12 then days_late_max end) as days_late_max_12,
        max(days_seriously_late_max) as days_seriously_late_max,
        max(last_late) as last_late
    from periods
    group by SK_ID_CURR
),

-- a card has one row per month, so its first and last month are unique
cards as (
    select
        SK_ID_CURR,
        SK_ID_PREV,
        max(month) as last_month,
        min(month) as first_month,
        arg_max(balance, month) as balance,
        arg_max(credit_limit, month) as credit_limit,
        arg_min(credit_limit, month) as first_limit,
        arg_max(instalments, month) as instalments
    from months
    group by SK_ID_CURR, SK_ID_PREV
),

applicant_cards as (
    select
        SK_ID_CURR,
        count(*) as cards,
        max(last_month) as last_month,
        min(first_month) as first_month,
        sum(balance) as balance,
        sum(credit_limit) as credit_limit,
        sum(first_limit) as first_limit,
        sum(instalments) as instalments
    from cards
    group by SK_ID_CURR
),

late_months as (
    select
        SK_ID_CURR,
        SK_ID_PREV,
        -- consecutive late months of a card share this number
        month - row_number() over (partition by SK_ID_PREV order by month) as run
    from months
    where days_past_due > 0
),

late_runs as (
    select SK_ID_CURR, SK_ID_PREV, run, count(*) as months
    from late_months
    group by SK_ID_CURR, SK_ID_PREV, run
),

applicant_runs as (
    select SK_ID_CURR, max(months) as longest
    from late_runs
    group by SK_ID_CURR
)

select
    SK_ID_CURR,

    -- cards and limits
    cards::double as card_count, -- number of credit cards from us
    months::double as card_months, -- months of history on credit cards from us
    -applicant_cards.last_month::double as card_months_since_last, -- months since the last report on a credit card from us
    -first_month::double as card_months_since_first, -- months since the first report on a credit card from us
    credit_limit::double as card_limit, -- present limit of credit cards from us; family: limits of credit cards from us
    limit_max as card_limit_max, -- highest limit of a credit card from us; family: limits of credit cards from us
    credit_limit / nullif(first_limit, 0) as card_limit_growth, -- present limit of credit cards from us compared with the first; family: limits of credit cards from us
    instalments::double as card_instalments_paid, -- number of instalments paid on credit cards from us

    -- balance and utilisation of the limit
    applicant_cards.balance::double as card_balance, -- present balance on credit cards from us; family: balance on credit cards from us
    history.balance / months as card_balance_mean, -- average balance on credit cards from us; family: balance on credit cards from us
    balance_3 / months_3 as card_balance_mean_3, -- average balance on credit cards from us in the last 3 months; family: balance on credit cards from us
    balance_max as card_balance_max, -- highest balance on a credit card from us; family: balance on credit cards from us
    with_balance / months as card_with_balance_share, -- share of months with a balance on credit cards from us; family: balance on credit cards from us
    applicant_cards.balance / nullif(credit_limit, 0) as card_utilisation, -- share of the limit of credit cards from us now in use; family: use of the credit card limit
    used / nullif(months_used, 0) as card_utilisation_mean, -- average share of the credit card limit in use; family: use of the credit card limit
    used_3 / nullif(months_used_3, 0) as card_utilisation_mean_3, -- average share of the credit card limit in use in the last 3 months; family: use of the credit card limit
    used_6 / nullif(months_used_6, 0) as card_utilisation_mean_6, -- average share of the credit card limit in use in the last 6 months; family: use of the credit card limit
    used_12 / nullif(months_used_12, 0) as card_utilisation_mean_12, -- average share of the credit card limit in use in the last 12 months; family: use of the credit card limit
    used_max as card_utilisation_max, -- highest share of the credit card limit in use; family: use of the credit card limit
    used_max_12 as card_utilisation_max_12, -- highest share of the credit card limit in use in the last 12 months; family: use of the credit card limit
    (months_used_12 * used_month_12 - month_sum_12 * used_12)
    / nullif(months_used_12 * month_squared_12 - month_sum_12 * month_sum_12, 0) as card_utilisation_trend, -- monthly change in the share of the credit card limit in use over the last 12 months; family: use of the credit card limit
    used_3 / nullif(months_used_3, 0) - used / nullif(months_used, 0) as card_utilisation_to_usual, -- share of the credit card limit in use in the last 3 months compared with the usual; family: use of the credit card limit
    sqrt(greatest(used_squared - used * used / nullif(months_used, 0), 0) / nullif(greatest(months_used - 1, 0), 0)) as card_utilisation_deviation, -- irregularity in the share of the credit card limit in use; family: use of the credit card limit
    sqrt(greatest(used_squared_12 - used_12 * used_12 / nullif(months_used_12, 0), 0) / nullif(greatest(months_used_12 - 1, 0), 0)) as card_utilisation_deviation_12, -- irregularity in the share of the credit card limit in use in the last 12 months; family: use of the credit card limit
    nearly_full / nullif(months_used, 0) as card_nearly_full_share, -- share of months with more than 90% of the credit card limit in use; family: use of the credit card limit
    nearly_full_12 / nullif(months_used_12, 0) as card_nearly_full_share_12, -- share of the last 12 months with more than 90% of the credit card limit in use; family: use of the credit card limit
    over_limit / nullif(months_used, 0) as card_over_limit_share, -- share of months above the credit card limit; family: use of the credit card limit
    charges / months as card_charges_mean, -- average interest and fees owed on credit cards from us

    -- drawings
    drawn / months as card_drawn_mean, -- average amount drawn a month on credit cards from us; family: amounts drawn on credit cards from us
    drawn_3 / months_3 as card_drawn_mean_3, -- average amount drawn a month on credit cards from us in the last 3 months; family: amounts drawn on credit cards from us
    drawn_12 / months_12 as card_drawn_mean_12, -- average amount drawn a month on credit cards from us in the last 12 months; family: amounts drawn on credit cards from us
    drawn_max as card_drawn_max, -- largest amount drawn in a month on a credit card from us; family: amounts drawn on credit cards from us
    drawn_3 / months_3 - drawn / months as card_drawn_to_usual, -- amount drawn a month on credit cards in the last 3 months compared with the usual; family: amounts drawn on credit cards from us
    drawn_cash / nullif(drawn, 0) as card_cash_share, -- share of credit card drawings taken in cash; family: cash drawn on credit cards from us
    drawn_cash_12 / nullif(drawn_12, 0) as card_cash_share_12, -- share of credit card drawings taken in cash in the last 12 months; family: cash drawn on credit cards from us
    drawn_goods / nullif(drawn, 0) as card_goods_share, -- share of credit card drawings spent in shops
    drawings / months as card_drawings_mean, -- average number of credit card drawings a month; family: use of credit cards from us
    drawings_12 / months_12 as card_drawings_mean_12, -- average number of credit card drawings a month in the last 12 months; family: use of credit cards from us
    drawings_cash / months as card_cash_drawings_mean, -- average number of cash withdrawals a month on credit cards from us; family: cash drawn on credit cards from us
    drawings_cash_3 / months_3 as card_cash_drawings_mean_3, -- average number of cash withdrawals a month on credit cards from us in the last 3 months; family: cash drawn on credit cards from us
    active / months as card_active_share, -- share of months in which a credit card from us was used; family: use of credit cards from us
    active_cash / months as card_active_cash_share, -- share of months with cash withdrawals on a credit card from us; family: cash drawn on credit cards from us
    -last_drawing::double as card_months_since_drawing, -- months since a credit card from us was last used; if missing: no use of a credit card from us on record; family: use of credit cards from us

    -- payments
    paid / months as card_paid_mean, -- average amount paid a month on credit cards from us; family: payments on credit cards from us
    paid_12 / months_12 as card_paid_mean_12, -- average amount paid a month on credit cards from us in the last 12 months; family: payments on credit cards from us
    paid / nullif(drawn, 0) as card_paid_to_drawn, -- amount paid compared with the amount drawn on credit cards from us; family: payments on credit cards from us
    below_minimum / nullif(owing, 0) as card_below_minimum_share, -- share of months paid below the minimum on credit cards from us; family: payments on credit cards from us
    below_minimum_12 / nullif(owing_12, 0) as card_below_minimum_share_12, -- share of months paid below the minimum on credit cards from us in the last 12 months; family: payments on credit cards from us
    at_minimum / nullif(owing, 0) as card_at_minimum_share, -- share of months paid little more than the minimum on credit cards from us; family: payments on credit cards from us
    paid_owing / nullif(minimum, 0) as card_paid_to_minimum, -- amount paid compared with the minimum due on credit cards from us; family: payments on credit cards from us

    -- past due
    late / months as card_late_share, -- share of months past due on credit cards from us; family: delays on credit cards from us
    late_3 / months_3 as card_late_share_3, -- share of months past due on credit cards from us in the last 3 months; family: delays on credit cards from us
    late_12 / months_12 as card_late_share_12, -- share of months past due on credit cards from us in the last 12 months; family: delays on credit cards from us
    late_12 / months_12 - (late - coalesce(late_12, 0)) / nullif(months_before, 0) as card_late_share_change, -- change in the share of months past due on credit cards from us in the last year; family: delays on credit cards from us
    seriously_late / months as card_seriously_late_share, -- share of months seriously past due on credit cards from us; family: delays on credit cards from us
    seriously_late_12 / months_12 as card_seriously_late_share_12, -- share of months seriously past due on credit cards from us in the last 12 months; family: delays on credit cards from us
    days_late_max::double as card_days_late_max, -- most days past due on a credit card from us; family: delays on credit cards from us
    days_late_max_12::double as card_days_late_max_12, -- most days past due on a credit card from us in the last 12 months; family: delays on credit cards from us
    days_seriously_late_max::double as card_days_seriously_late_max, -- most days seriously past due on a credit card from us; family: delays on credit cards from us
    -last_late::double as card_months_since_late, -- months since a credit card from us was last past due; if missing: no delay on a credit card from us on record; family: delays on credit cards from us
    coalesce(longest, 0)::double as card_longest_late_run -- longest run of months past due on a credit card from us; family: delays on credit cards from us
from history
inner join applicant_cards using (SK_ID_CURR)
left join applicant_runs using (SK_ID_CURR)
