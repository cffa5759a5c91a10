-- Payments of the instalments of earlier loans and cards from this lender: days late and amounts short
-- by recency, trend, runs, volatility, the last instalment compared with the usual one.
-- One row per applicant with at least one instalment due by the application; later instalments and
-- payments are excluded. Partial payments of one instalment count as one instalment.
-- "Late" means paid after the due day, or not paid at all.
-- if no row: no instalment of an earlier loan from us on record
with instalments as (
    select
        SK_ID_CURR,
        SK_ID_PREV,
        NUM_INSTALMENT_NUMBER as number,
        DAYS_INSTALMENT::integer as due,
        max(NUM_INSTALMENT_VERSION) = 0 as card,
        max(AMT_INSTALMENT)::decimal(18, 3) as amount,
        coalesce(sum(AMT_PAYMENT::decimal(18, 3)), 0)::decimal(18, 3) as paid,
        count(DAYS_ENTRY_PAYMENT)::integer as payments,
        (max(DAYS_ENTRY_PAYMENT) - DAYS_INSTALMENT)::integer as delay
    from installments_payments
    where DAYS_INSTALMENT <= 0 and coalesce(DAYS_ENTRY_PAYMENT, 0) <= 0
    group by SK_ID_CURR, SK_ID_PREV, NUM_INSTALMENT_NUMBER, DAYS_INSTALMENT
),

-- from the newest instalment backwards, over all loans
ordered as (
    select
        *,
        coalesce(delay > 0, true) as late,
        row_number() over newest_first as place,
        count(*) filter (coalesce(delay > 0, true)) over newest_first as late_so_far
    from instalments
    window newest_first as (
        partition by SK_ID_CURR
        order by due desc, SK_ID_PREV desc, number desc
        rows between unbounded preceding and current row
    )
),

-- consecutive instalments that were all late, or all on time, share a run number
runs as (
    select
        SK_ID_CURR,
        late,
        case when late then place - late_so_far else late_so_far end as run,
        count(*) as length
    from ordered
    group by SK_ID_CURR, late, run
),

applicant_runs as (
    select
        SK_ID_CURR,
        max(length) filter (late) as longest_late,
        max(length) filter (not late) as longest_on_time,
        max(length) filter (late and run = 0) as current_late,
        max(length) filter (not late and run = 0) as current_on_time
    from runs
    group by SK_ID_CURR
),

-- windows are sums of disjoint periods, which is faster than reading the rows for each window
periods as (
    select
        SK_ID_CURR,
        case when due >= -90 then 90 when due >= -180 then 180 when due >= -365 then 365 when due >= -730 then 730 else 9999 end
            as period,
        count(*) as instalments,
        count(delay) as settled,
        count(*) filter (late) as late,
        count(*) filter (delay > 30) as late_30,
        count(*) filter (delay <= -7) as early,
        count(*) filter (paid < amount) as short,
        count(*) filter (paid > amount) as over,
        sum(greatest(delay, 0)) as days_late,
        case when count(delay) > 0 then greatest(max(delay), 0) end as days_late_max,
        sum(delay) as delay,
        sum(delay * delay) as delay_squared,
        sum(due) filter (delay is not null) as due,
        sum(due * due) filter (delay is not null) as due_squared,
        sum(due * delay) as due_delay,
        sum(amount) as amount,
        max(amount) as amount_max,
        sum(paid) as paid,
        sum(greatest(amount - paid, 0)) as shortfall,
        sum(payments) as payments,
        count(*) filter (card) as card,
        count(*) filter (card and late) as card_late,
        max(due) as last_due,
        min(due) as first_due,
        max(due) filter (late) as last_late,
        max(due) filter (delay > 30) as last_late_30,
        max(due) filter (paid < amount) as last_short,
        max(delay) filter (place = 1) as last_delay,
        max(amount) filter (place = 1) as last_amount
    from ordered
    group by SK_ID_CURR, period
),

history as (
    select
        SK_ID_CURR,
        sum(instalments) as instalments,
        sum(case when period <= 90 then instalments end) as instalments_90,
        sum(case when period <= 180 then instalments end) as instalments_180,
        sum(case when period <= 365 then instalments end) as instalments_365,
        sum(case when period <= 730 then instalments end) as instalments_730,
        sum(case when period > 365 then instalments end) as instalments_before,
        sum(settled) as settled,
        sum(case when period <= 90 then settled end) as settled_90,
        sum(case when period <= 180 then settled end) as settled_180,
        sum(case when period <= 365 then settled end) as settled_365,
        sum(case when period <= 730 then settled end) as settled_730,
        sum(late) as late,
        sum(case when period <= 90 then late end) as late_90,
        sum(case when period <= 180 then late end) as late_180,
        sum(case when period <= 365 then late end) as late_365,
        sum(case when period <= 730 then late end) as late_730,
        sum(case when period > 365 then late end) as late_before,
        sum(late_30) as late_30,
        sum(case when period <= 365 then late_30 end) as late_30_365,
        sum(early) as early,
        sum(short) as short,
        sum(case when period <= 365 then short end) as short_365,
        sum(over) as over,
        sum(days_late) as days_late,
        sum(case when period <= 90 then days_late end) as days_late_90,
        sum(case when period <= 180 then days_late end) as days_late_180,
        sum(case when period <= 365 then days_late end) as days_late_365,
        sum(case when period <= 730 then days_late end) as days_late_730,
        max(days_late_max) as days_late_max,
        max(case when period <= 90 then days_late_max end) as days_late_max_90,
        max(case when period <= 365 then days_late_max end) as days_late_max_365,
        max(case when period <= 730 then days_late_max end) as days_late_max_730,
        sum(delay)::double as delay,
        sum(case when period <= 90 then delay end)::double as delay_90,
        sum(case when period <= 365 then delay end)::double as delay_365,
        sum(case when period <= 730 then delay end)::double as delay_730,
        sum(delay_squared)::double as delay_squared,
        sum(case when period <= 365 then delay_squared end)::double as delay_squared_365,
        sum(due)::double as due,
        sum(case when period <= 730 then due end)::double as due_730,
        sum(due_squared)::double as due_squared,
        sum(case when period <= 730 then due_squared end)::double as due_squared_730,
        sum(due_delay)::double as due_delay,
        sum(case when period <= 730 then due_delay end)::double as due_delay_730,
        sum(amount)::double as amount,
        sum(case when period <= 90 then amount end)::double as amount_90,
        sum(case when period <= 180 then amount end)::double as amount_180,
        sum(case when period <= 365 then amount end)::double as amount_365,
        sum(case when period <= 730 then amount end)::double as amount_730,
        max(amount_max)::double as amount_max,
        sum(paid)::double as paid,
        sum(case when period <= 365 then paid end)::double as paid_365,
        sum(shortfall)::double as shortfall,
        sum(case when period <= 90 then shortfall end)::double as shortfall_90,
        sum(case when period <= 180 then shortfall end)::double as shortfall_180,
        sum(case when period <= 365 then shortfall end)::double as shortfall_365,
        sum(case when period <= 730 then shortfall end)::double as shortfall_730,
        sum(payments) as payments,
        sum(card) as card,
        sum(card_late) as card_late,
        max(last_due) as last_due,
        min(first_due) as first_due,
        max(last_late) as last_late,
        max(last_late_30) as last_late_30,
        max(last_short) as last_short,
        max(last_delay) as last_delay,
        max(last_amount)::double as last_amount
    from periods
    group by SK_ID_CURR
),

-- regression lines through (due day, delay): n, sums and products are whole numbers, so exact
trends as (
    select
        SK_ID_CURR,
        settled * due_squared - due * due as due_spread,
        settled_730 * due_squared_730 - due_730 * due_730 as due_spread_730,
        settled * due_delay - due * delay as together,
        settled_730 * due_delay_730 - due_730 * delay_730 as together_730
    from history
),

loans as (
    select SK_ID_CURR, SK_ID_PREV, bool_or(late) as late
    from ordered
    group by SK_ID_CURR, SK_ID_PREV
),

applicant_loans as (
    select SK_ID_CURR, count(*) as loans, count(*) filter (late) as loans_late
    from loans
    group by SK_ID_CURR
)

select
    SK_ID_CURR,

    -- numbers of instalments
    instalments::double as instalment_count, -- number of loan instalments due so far
    coalesce(instalments_365, 0)::double as instalment_count_365, -- number of loan instalments due in the last 12 months
    loans::double as instalment_loans, -- number of loans with instalments due so far
    loans_late / loans as instalment_loans_late_share, -- share of loans with an instalment paid late; family: punctuality of loan instalments

    -- lateness by recency
    late / instalments as instalment_late_share, -- share of loan instalments paid late; family: punctuality of loan instalments
    late_90 / instalments_90 as instalment_late_share_90, -- share of loan instalments paid late in the last 3 months; family: punctuality of loan instalments
    late_180 / instalments_180 as instalment_late_share_180, -- share of loan instalments paid late in the last 6 months; family: punctuality of loan instalments
    late_365 / instalments_365 as instalment_late_share_365, -- share of loan instalments paid late in the last 12 months; family: punctuality of loan instalments
    late_730 / instalments_730 as instalment_late_share_730, -- share of loan instalments paid late in the last 24 months; family: punctuality of loan instalments
    days_late / nullif(settled, 0) as instalment_days_late_mean, -- average days late on loan instalments; family: punctuality of loan instalments
    days_late_90 / nullif(settled_90, 0) as instalment_days_late_mean_90, -- average days late on loan instalments in the last 3 months; family: punctuality of loan instalments
    days_late_180 / nullif(settled_180, 0) as instalment_days_late_mean_180, -- average days late on loan instalments in the last 6 months; family: punctuality of loan instalments
    days_late_365 / nullif(settled_365, 0) as instalment_days_late_mean_365, -- average days late on loan instalments in the last 12 months; family: punctuality of loan instalments
    days_late_730 / nullif(settled_730, 0) as instalment_days_late_mean_730, -- average days late on loan instalments in the last 24 months; family: punctuality of loan instalments
    days_late_max::double as instalment_days_late_max, -- most days late on a loan instalment; family: punctuality of loan instalments
    days_late_max_90::double as instalment_days_late_max_90, -- most days late on a loan instalment in the last 3 months; family: punctuality of loan instalments
    days_late_max_365::double as instalment_days_late_max_365, -- most days late on a loan instalment in the last 12 months; family: punctuality of loan instalments
    days_late_max_730::double as instalment_days_late_max_730, -- most days late on a loan instalment in the last 24 months; family: punctuality of loan instalments
    late_30::double as instalment_late_30, -- number of loan instalments paid more than 30 days late; family: punctuality of loan instalments
    coalesce(late_30_365, 0)::double as instalment_late_30_365, -- number of loan instalments paid more than 30 days late in the last 12 months; family: punctuality of loan instalments
    (instalments - settled)::double as instalment_unpaid, -- number of loan instalments due and not paid; family: punctuality of loan instalments
    card_late / nullif(card, 0) as instalment_card_late_share, -- share of credit card instalments paid late; family: punctuality of loan instalments
    (late - card_late) / nullif(instalments - card, 0) as instalment_loan_late_share, -- share of instalments other than credit card ones paid late; family: punctuality of loan instalments

    -- amounts short by recency
    short / instalments as instalment_short_share, -- share of loan instalments paid short of the amount due; family: loan instalments paid short
    short_365 / instalments_365 as instalment_short_share_365, -- share of loan instalments paid short of the amount due in the last 12 months; family: loan instalments paid short
    shortfall / nullif(amount, 0) as instalment_shortfall, -- share of the amount due on loan instalments left unpaid; family: loan instalments paid short
    shortfall_90 / nullif(amount_90, 0) as instalment_shortfall_90, -- share of the amount due on loan instalments left unpaid in the last 3 months; family: loan instalments paid short
    shortfall_180 / nullif(amount_180, 0) as instalment_shortfall_180, -- share of the amount due on loan instalments left unpaid in the last 6 months; family: loan instalments paid short
    shortfall_365 / nullif(amount_365, 0) as instalment_shortfall_365, -- share of the amount due on loan instalments left unpaid in the last 12 months; family: loan instalments paid short
    shortfall_730 / nullif(amount_730, 0) as instalment_shortfall_730, -- share of the amount due on loan instalments left unpaid in the last 24 months; family: loan instalments paid short
    shortfall as instalment_shortfall_amount, -- amount due on loan instalments left unpaid; family: loan instalments paid short

    -- paid early, in parts or in excess
    early / instalments as instalment_early_share, -- share of loan instalments paid a week or more early; family: punctuality of loan instalments
    (days_late - delay) / nullif(settled, 0) as instalment_days_early_mean, -- average days that loan instalments were paid early; family: punctuality of loan instalments
    over / instalments as instalment_over_share, -- share of loan instalments paid above the amount due
    payments / instalments as instalment_payments_mean, -- average number of payments made for one loan instalment

    -- trend, last compared with usual, volatility
    case when due_spread > 0 then 365 * together / due_spread end as instalment_delay_trend, -- yearly change in days late on loan instalments; family: punctuality of loan instalments
    case when due_spread_730 > 0 then 365 * together_730 / due_spread_730 end as instalment_delay_trend_730, -- yearly change in days late on loan instalments over the last 24 months; family: punctuality of loan instalments
    late_365 / instalments_365 - late_before / nullif(instalments_before, 0) as instalment_late_share_change, -- change in the share of loan instalments paid late in the last year; family: punctuality of loan instalments
    delay_90 / nullif(settled_90, 0) - delay / nullif(settled, 0) as instalment_delay_90_to_usual, -- days late on loan instalments in the last 3 months compared with the usual; family: punctuality of loan instalments
    last_delay::double as instalment_last_delay, -- days late on the last loan instalment; family: punctuality of loan instalments
    last_delay - delay / nullif(settled, 0) as instalment_last_delay_to_usual, -- days late on the last loan instalment compared with the usual; family: punctuality of loan instalments
    sqrt(greatest(delay_squared - delay * delay / nullif(settled, 0), 0) / nullif(greatest(settled - 1, 0), 0)) as instalment_delay_deviation, -- irregularity of the days on which loan instalments were paid; family: punctuality of loan instalments
    sqrt(greatest(delay_squared_365 - delay_365 * delay_365 / nullif(settled_365, 0), 0) / nullif(greatest(settled_365 - 1, 0), 0)) as instalment_delay_deviation_365, -- irregularity of the days on which loan instalments were paid in the last 12 months; family: punctuality of loan instalments

    -- runs
    coalesce(current_on_time, 0)::double as instalment_current_on_time_run, -- number of loan instalments paid on time since the last late one; family: punctuality of loan instalments
    coalesce(longest_on_time, 0)::double as instalment_longest_on_time_run, -- longest run of loan instalments paid on time; family: punctuality of loan instalments
    coalesce(current_late, 0)::double as instalment_current_late_run, -- number of latest loan instalments in a row paid late; family: punctuality of loan instalments
    coalesce(longest_late, 0)::double as instalment_longest_late_run, -- longest run of loan instalments paid late; family: punctuality of loan instalments

    -- recency
    -last_due::double as instalment_days_since_last, -- days since the last loan instalment was due
    -first_due::double as instalment_days_since_first, -- days since the first loan instalment was due
    -last_late::double as instalment_days_since_late, -- days since the last loan instalment paid late; if missing: no loan instalment paid late on record; family: punctuality of loan instalments
    -last_late_30::double as instalment_days_since_late_30, -- days since the last loan instalment paid more than 30 days late; if missing: no loan instalment paid more than 30 days late on record; family: punctuality of loan instalments
    -last_short::double as instalment_days_since_short, -- days since the last loan instalment paid short of the amount due; if missing: no loan instalment paid short on record; family: loan instalments paid short

    -- amounts
    amount / instalments as instalment_amount_mean, -- average amount of a loan instalment; family: amounts of loan instalments
    amount_max as instalment_amount_max, -- largest loan instalment; family: amounts of loan instalments
    last_amount as instalment_last_amount, -- amount of the last loan instalment; family: amounts of loan instalments
    last_amount / nullif(amount / instalments, 0) as instalment_last_amount_to_usual, -- amount of the last loan instalment compared with the usual; family: amounts of loan instalments
    amount_365 as instalment_amount_365, -- amount of loan instalments due in the last 12 months; family: amounts of loan instalments
    paid_365 as instalment_paid_365 -- amount paid on loan instalments due in the last 12 months; family: amounts of loan instalments
from history
inner join trends using (SK_ID_CURR)
inner join applicant_runs using (SK_ID_CURR)
inner join applicant_loans using (SK_ID_CURR)
