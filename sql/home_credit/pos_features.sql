-- Monthly data of the applicant's earlier point-of-sale and cash loans from this lender: days past due
-- by recency, trend and spells, remaining instalments, and how the loans ended.
-- One row per applicant with at least one month before the application; later months are excluded.
-- "Past due" counts every delay, "seriously past due" ignores small debts (the source's DEF).
-- if no row: no earlier instalment loan from us
with months as (
    select
        SK_ID_CURR,
        SK_ID_PREV,
        MONTHS_BALANCE::integer as month,
        CNT_INSTALMENT::integer as term,
        CNT_INSTALMENT_FUTURE::integer as remaining,
        NAME_CONTRACT_STATUS as status,
        SK_DPD as days_past_due,
        SK_DPD_DEF as days_seriously_past_due
    from pos_cash_balance
    where MONTHS_BALANCE <= 0
),

-- windows are sums of disjoint periods, which is faster than reading the rows for each window
periods as (
    select
        SK_ID_CURR,
        case when month >= -3 then 3 when month >= -6 then 6 when month >= -12 then 12 when month >= -24 then 24 else 999 end
            as period,
        count(*) as months,
        count(*) filter (days_past_due > 0) as late,
        count(*) filter (days_seriously_past_due > 0) as seriously_late,
        count(*) filter (days_past_due > 30) as late_30,
        sum(least(days_past_due, 365)) as days_late,
        max(days_past_due) as days_late_max,
        max(days_seriously_past_due) as days_seriously_late_max,
        max(month) filter (days_past_due > 0) as last_late,
        max(month) filter (days_seriously_past_due > 0) as last_seriously_late
    from months
    group by SK_ID_CURR, period
),

history as (
    select
        SK_ID_CURR,
        sum(months) as months,
        sum(months) filter (period <= 3) as months_3,
        sum(months) filter (period <= 12) as months_12,
        sum(months) filter (period <= 24) as months_24,
        sum(months) filter (period > 12) as months_before,
        sum(late) as late,
        sum(late) filter (period <= 3) as late_3,
        sum(late) filter (period <= 12) as late_12,
        sum(late) filter (period <= 24) as late_24,
        sum(late) filter (period > 12) as late_before,
        sum(seriously_late) as seriously_late,
        sum(seriously_late) filter (period <= 12) as seriously_late_12,
        sum(seriously_late) filter (period <= 24) as seriously_late_24,
        sum(late_30) as late_30,
        sum(days_late) as days_late,
        sum(days_late) filter (period <= 12) as days_late_12,
        max(days_late_max) as days_late_max,
        max(days_late_max) filter (period <= 3) as days_late_max_3,
        max(days_late_max) filter (period <= 12) as days_late_max_12,
        max(days_seriously_late_max) as days_seriously_late_max,
        max(days_seriously_late_max) filter (period <= 12) as days_seriously_late_max_12,
        max(last_late) as last_late,
        max(last_seriously_late) as last_seriously_late
    from periods
    group by SK_ID_CURR
),

-- a loan has one row per month, so its last month is unique
loans as (
    select
        SK_ID_CURR,
        SK_ID_PREV,
        min(month) as first_month,
        max(month) as last_month,
        count(*) as months,
        arg_max(remaining, month) as remaining,
        arg_max(term, month) as term,
        max(term) <> min(term) as term_changed,
        bool_or(status = 'Completed') as completed,
        bool_or(status = 'Returned to the store') as returned,
        bool_or(status in ('Demand', 'Amortized debt')) as called_in,
        bool_or(days_past_due > 0) as late
    from months
    group by SK_ID_CURR, SK_ID_PREV
),

applicant_loans as (
    select
        SK_ID_CURR,
        count(*) as loans,
        count(*) filter (completed) as completed,
        count(*) filter (returned) as returned,
        count(*) filter (called_in) as called_in,
        count(*) filter (late) as late,
        count(*) filter (term_changed) as term_changed,
        -- open: the last month is recent and does not end the loan
        count(*) filter (not completed and last_month >= -2) as open,
        sum(remaining) filter (not completed and last_month >= -2) as remaining,
        max(remaining) filter (not completed and last_month >= -2) as remaining_max,
        sum(term) filter (not completed and last_month >= -2 and remaining is not null) as term_open,
        avg(term) as term_mean,
        count(*) filter (completed and months < term) as completed_early,
        max(last_month) as last_month,
        min(first_month) as first_month,
        max(first_month) as newest_start,
        max(last_month) filter (completed) as last_completed
    from loans
    group by SK_ID_CURR
),

late_months as (
    select
        SK_ID_CURR,
        SK_ID_PREV,
        -- consecutive late months of a loan share this number
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
    select SK_ID_CURR, max(months) as longest, count(*) as runs
    from late_runs
    group by SK_ID_CURR
)

select
    SK_ID_CURR,

    -- loans and how they ended
    loans::double as pos_loans, -- number of earlier instalment loans from us with a monthly history
    months::double as pos_months, -- months of history on instalment loans from us
    open::double as pos_loans_open, -- number of instalment loans from us still open
    completed::double as pos_loans_completed, -- number of instalment loans from us paid off
    completed / loans as pos_completed_share, -- share of instalment loans from us paid off
    completed_early / nullif(completed, 0) as pos_completed_early_share, -- share of paid-off instalment loans that were paid off before term
    returned::double as pos_loans_returned, -- number of loans on goods that were returned to the shop
    called_in::double as pos_loans_called_in, -- number of instalment loans from us called in or written down
    term_changed / loans as pos_term_changed_share, -- share of instalment loans from us whose term was changed
    applicant_loans.late / loans as pos_loans_late_share, -- share of instalment loans from us that were ever past due; family: delays on instalment loans from us

    -- remaining instalments
    remaining::double as pos_remaining, -- number of instalments left on open instalment loans from us; family: what is left to pay on instalment loans from us
    remaining_max::double as pos_remaining_max, -- most instalments left on one open instalment loan from us; family: what is left to pay on instalment loans from us
    remaining / nullif(term_open, 0) as pos_remaining_share, -- share of instalments still to pay on open instalment loans from us; family: what is left to pay on instalment loans from us
    term_mean as pos_term_mean, -- average term of instalment loans from us

    -- past due by recency
    history.late::double as pos_months_late, -- months past due on instalment loans from us; family: delays on instalment loans from us
    history.late / months as pos_late_share, -- share of months past due on instalment loans from us; family: delays on instalment loans from us
    late_3 / months_3 as pos_late_share_3, -- share of months past due on instalment loans from us in the last 3 months; family: delays on instalment loans from us
    late_12 / months_12 as pos_late_share_12, -- share of months past due on instalment loans from us in the last 12 months; family: delays on instalment loans from us
    late_24 / months_24 as pos_late_share_24, -- share of months past due on instalment loans from us in the last 24 months; family: delays on instalment loans from us
    seriously_late / months as pos_seriously_late_share, -- share of months seriously past due on instalment loans from us; family: delays on instalment loans from us
    seriously_late_12 / months_12 as pos_seriously_late_share_12, -- share of months seriously past due on instalment loans from us in the last 12 months; family: delays on instalment loans from us
    seriously_late_24 / months_24 as pos_seriously_late_share_24, -- share of months seriously past due on instalment loans from us in the last 24 months; family: delays on instalment loans from us
    late_30::double as pos_months_late_30, -- months more than 30 days past due on instalment loans from us; family: delays on instalment loans from us
    days_late / months as pos_days_late_mean, -- average days past due on instalment loans from us; family: delays on instalment loans from us
    days_late_12 / months_12 as pos_days_late_mean_12, -- average days past due on instalment loans from us in the last 12 months; family: delays on instalment loans from us
    days_late_max::double as pos_days_late_max, -- most days past due on an instalment loan from us; family: delays on instalment loans from us
    days_late_max_3::double as pos_days_late_max_3, -- most days past due on an instalment loan from us in the last 3 months; family: delays on instalment loans from us
    days_late_max_12::double as pos_days_late_max_12, -- most days past due on an instalment loan from us in the last 12 months; family: delays on instalment loans from us
    days_seriously_late_max::double as pos_days_seriously_late_max, -- most days seriously past due on an instalment loan from us; family: delays on instalment loans from us
    days_seriously_late_max_12::double as pos_days_seriously_late_max_12, -- most days seriously past due on an instalment loan from us in the last 12 months; family: delays on instalment loans from us
    late_12 / months_12 - late_before / nullif(months_before, 0) as pos_late_share_change, -- change in the share of months past due on instalment loans from us in the last year; family: delays on instalment loans from us
    coalesce(longest, 0)::double as pos_longest_late_run, -- longest run of months past due on an instalment loan from us; family: delays on instalment loans from us
    coalesce(runs, 0)::double as pos_late_runs, -- number of separate spells past due on instalment loans from us; family: delays on instalment loans from us

    -- recency
    -last_late::double as pos_months_since_late, -- months since an instalment loan from us was last past due; if missing: no delay on an instalment loan from us on record; family: delays on instalment loans from us
    -last_seriously_late::double as pos_months_since_seriously_late, -- months since an instalment loan from us was last seriously past due; if missing: no serious delay on an instalment loan from us on record; family: delays on instalment loans from us
    -last_month::double as pos_months_since_last, -- months since the last report on an instalment loan from us
    -first_month::double as pos_months_since_first, -- months since the first report on an instalment loan from us
    -newest_start::double as pos_months_since_newest, -- months since the newest instalment loan from us began
    -last_completed::double as pos_months_since_completed -- months since an instalment loan from us was last paid off; if missing: no instalment loan from us paid off on record
from history
inner join applicant_loans using (SK_ID_CURR)
left join applicant_runs using (SK_ID_CURR)
