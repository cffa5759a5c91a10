-- The applicant's earlier applications to this lender: their number, dates, purposes, results and terms,
-- and details of the last one. One row per applicant with at least one. Applications decided after the
-- current one are excluded. 365243 means "not yet" in the days of a loan. Rates are rounded to six
-- decimals so that their averages are exact.
-- if no row: no earlier application to us
with previous as (
    select
        SK_ID_CURR,
        SK_ID_PREV,
        -DAYS_DECISION as days_ago,
        NAME_CONTRACT_STATUS as status,
        NAME_CONTRACT_STATUS = 'Approved' as approved,
        NAME_CONTRACT_STATUS = 'Refused' as refused,
        CODE_REJECT_REASON,
        NAME_CONTRACT_TYPE,
        NAME_PRODUCT_TYPE,
        NAME_YIELD_GROUP,
        CHANNEL_TYPE,
        NFLAG_INSURED_ON_APPROVAL,
        -- zero means that the amount was never stated
        nullif(AMT_APPLICATION::decimal(18, 3), 0) as asked,
        nullif(AMT_CREDIT::decimal(18, 3), 0) as credit,
        nullif(AMT_ANNUITY::decimal(18, 3), 0) as annuity,
        AMT_DOWN_PAYMENT::decimal(18, 3) as down_payment,
        nullif(CNT_PAYMENT, 0)::integer as term,
        -- amounts below a thousandth are not used as divisors
        (AMT_CREDIT / nullif(round(AMT_APPLICATION, 3), 0))::decimal(38, 6) as credit_to_asked,
        (AMT_ANNUITY / nullif(round(AMT_CREDIT, 3), 0))::decimal(38, 6) as annuity_to_credit,
        -- total repayment per unit lent
        (AMT_ANNUITY * nullif(CNT_PAYMENT, 0) / nullif(round(AMT_CREDIT, 3), 0))::decimal(38, 6) as cost,
        RATE_DOWN_PAYMENT::decimal(18, 6) as down_payment_rate,
        case when DAYS_FIRST_DUE <= 0 then DAYS_FIRST_DUE::integer end as first_due,
        case when DAYS_LAST_DUE <= 0 then DAYS_LAST_DUE::integer end as last_due,
        nullif(DAYS_LAST_DUE_1ST_VERSION, 365243)::integer as planned_last_due,
        case when DAYS_TERMINATION <= 0 then DAYS_TERMINATION::integer end as terminated,
        NAME_CONTRACT_STATUS = 'Approved' and DAYS_TERMINATION > 0 as running
    from previous_applications
    where DAYS_DECISION <= 0
),

history as (
    select
        SK_ID_CURR,
        count(*) as applications,
        count(*) filter (approved) as approvals,
        count(*) filter (refused) as refusals,
        count(*) filter (status = 'Canceled') as cancellations,
        count(*) filter (status = 'Unused offer') as unused,
        count(*) filter (CODE_REJECT_REASON = 'HC') as refused_hc,
        count(*) filter (CODE_REJECT_REASON = 'LIMIT') as refused_limit,
        count(*) filter (CODE_REJECT_REASON = 'SCO') as refused_score,
        count(*) filter (CODE_REJECT_REASON = 'SCOFR') as refused_fraud_score,
        count(*) filter (CODE_REJECT_REASON = 'VERIF') as refused_verification,
        count(*) filter (refused and CODE_REJECT_REASON not in ('HC', 'LIMIT', 'SCO', 'SCOFR', 'VERIF')) as refused_other,
        count(*) filter (NAME_CONTRACT_TYPE = 'Cash loans' and approved) as cash_approved,
        count(*) filter (NAME_CONTRACT_TYPE = 'Consumer loans' and approved) as consumer_approved,
        count(*) filter (NAME_CONTRACT_TYPE = 'Revolving loans' and approved) as revolving_approved,
        count(*) filter (NAME_CONTRACT_TYPE = 'Cash loans' and refused) as cash_refused,
        count(*) filter (NAME_CONTRACT_TYPE = 'Consumer loans' and refused) as consumer_refused,
        count(*) filter (NAME_CONTRACT_TYPE = 'Revolving loans' and refused) as revolving_refused,
        count(*) filter (NAME_PRODUCT_TYPE = 'x-sell') as cross_sold,
        count(*) filter (NAME_YIELD_GROUP = 'high') as yield_high,
        count(*) filter (NAME_YIELD_GROUP = 'middle') as yield_middle,
        count(*) filter (NAME_YIELD_GROUP = 'low_normal') as yield_low,
        count(*) filter (NAME_YIELD_GROUP = 'low_action') as yield_action,
        count(*) filter (NAME_YIELD_GROUP <> 'XNA') as yield_known,
        count(*) filter (CHANNEL_TYPE = 'Credit and cash offices') as channel_office,
        count(*) filter (CHANNEL_TYPE in ('Country-wide', 'Regional / Local', 'Stone')) as channel_shop,
        count(*) filter (CHANNEL_TYPE = 'Contact center') as channel_phone,

        avg(asked) as asked_mean,
        max(asked) as asked_max,
        avg(asked) filter (refused) as asked_refused_mean,
        sum(credit) filter (approved) as credit_sum,
        avg(credit) filter (approved) as credit_mean,
        max(credit) filter (approved) as credit_max,
        avg(annuity) filter (approved) as annuity_mean,
        max(annuity) filter (approved) as annuity_max,
        avg(credit_to_asked) filter (approved) as credit_to_asked_mean,
        min(credit_to_asked) filter (approved) as credit_to_asked_min,
        avg(annuity_to_credit) filter (approved) as annuity_to_credit_mean,
        avg(term) filter (approved) as term_mean,
        avg(term) filter (refused) as term_refused_mean,
        avg(cost) filter (approved) as cost_mean,
        max(cost) filter (approved) as cost_max,
        avg(down_payment) filter (approved) as down_payment_mean,
        max(down_payment) as down_payment_max,
        avg(down_payment_rate) filter (approved) as down_payment_rate_mean,
        count(*) filter (approved and NFLAG_INSURED_ON_APPROVAL = 1) as insured,

        min(days_ago) as days_since_last,
        max(days_ago) as days_since_first,
        min(days_ago) filter (approved) as days_since_approved,
        min(days_ago) filter (refused) as days_since_refused,
        avg(days_ago) filter (approved) as days_ago_approved_mean,

        count(*) filter (days_ago <= 30) as applications_30,
        count(*) filter (days_ago <= 90) as applications_90,
        count(*) filter (days_ago <= 180) as applications_180,
        count(*) filter (days_ago <= 365) as applications_365,
        count(*) filter (days_ago <= 730) as applications_730,
        count(*) filter (days_ago between 366 and 730) as applications_year_before,
        count(*) filter (refused and days_ago <= 90) as refusals_90,
        count(*) filter (refused and days_ago <= 365) as refusals_365,
        count(*) filter (refused and days_ago <= 730) as refusals_730,
        count(*) filter (approved and days_ago <= 365) as approvals_365,
        sum(credit) filter (approved and days_ago <= 365) as credit_365,
        sum(credit) filter (approved and days_ago <= 730) as credit_730,

        count(*) filter (running) as running,
        sum(credit) filter (running) as running_credit,
        sum(annuity) filter (running) as running_annuity,
        max(planned_last_due) filter (running) as days_to_planned_end,
        avg(planned_last_due - last_due) filter (approved) as ended_early_days_mean,
        count(*) filter (approved and last_due < planned_last_due) as ended_early,
        count(*) filter (approved and last_due > planned_last_due) as ended_late,
        count(*) filter (approved and last_due is not null and planned_last_due is not null) as ended,
        avg(last_due - first_due) filter (approved) as repaid_days_mean,
        max(terminated) filter (approved) as last_terminated
    from previous
    group by SK_ID_CURR
),

-- of two applications on one day, the one with the larger id is the last
last_application as (
    select *
    from previous
    qualify row_number() over (partition by SK_ID_CURR order by days_ago, SK_ID_PREV desc) = 1
),

last_approval as (
    select *
    from previous
    where approved
    qualify row_number() over (partition by SK_ID_CURR order by days_ago, SK_ID_PREV desc) = 1
),

since_last_approval as (
    select previous.SK_ID_CURR, count(*) as refusals_since
    from previous
    left join last_approval using (SK_ID_CURR)
    where previous.refused and previous.days_ago < coalesce(last_approval.days_ago, 100000)
    group by previous.SK_ID_CURR
)

select
    SK_ID_CURR,

    -- results of earlier applications
    applications::double as previous_applications_count, -- number of earlier applications to us; family: number of earlier applications
    approvals::double as previous_approvals, -- number of earlier applications approved; family: earlier approvals
    refusals::double as previous_refusals, -- number of earlier applications refused; family: earlier refusals
    cancellations::double as previous_cancellations, -- number of earlier applications withdrawn; family: earlier applications not gone through with
    unused::double as previous_unused_offers, -- number of earlier offers not taken up; family: earlier applications not gone through with
    approvals / applications as previous_approval_share, -- share of earlier applications approved; family: earlier approvals
    refusals / applications as previous_refusal_share, -- share of earlier applications refused; family: earlier refusals
    cancellations / applications as previous_cancellation_share, -- share of earlier applications withdrawn; family: earlier applications not gone through with
    refused_hc::double as previous_refused_hc, -- number of earlier applications refused with reason code HC; family: earlier refusals
    refused_limit::double as previous_refused_limit, -- number of earlier applications refused because of a lending limit; family: earlier refusals
    refused_score::double as previous_refused_score, -- number of earlier applications refused because of their credit assessment; family: earlier refusals
    refused_fraud_score::double as previous_refused_fraud_score, -- number of earlier applications refused with reason code SCOFR; family: earlier refusals
    refused_verification::double as previous_refused_verification, -- number of earlier applications refused because details could not be verified; family: earlier refusals
    refused_other::double as previous_refused_other, -- number of earlier applications refused for other reasons; family: earlier refusals
    refused_hc / nullif(refusals, 0) as previous_refused_hc_share, -- share of earlier refusals with reason code HC; if missing: no earlier refusal on record; family: earlier refusals
    coalesce(refusals_since, 0)::double as previous_refusals_since_approval, -- number of refusals since our last approval; if missing: no earlier approval on record; family: earlier refusals

    -- loan types, channels and prices
    cash_approved::double as previous_cash_approved, -- number of earlier cash loans approved; family: earlier approvals
    consumer_approved::double as previous_consumer_approved, -- number of earlier loans on goods approved; family: earlier approvals
    revolving_approved::double as previous_revolving_approved, -- number of earlier credit cards approved; family: earlier approvals
    cash_refused::double as previous_cash_refused, -- number of earlier cash loans refused; family: earlier refusals
    consumer_refused::double as previous_consumer_refused, -- number of earlier loans on goods refused; family: earlier refusals
    revolving_refused::double as previous_revolving_refused, -- number of earlier credit cards refused; family: earlier refusals
    cross_sold::double as previous_cross_sold, -- number of earlier applications that followed our offer
    yield_high::double as previous_yield_high, -- number of earlier applications priced at a high interest rate; family: interest rates of earlier applications
    yield_middle::double as previous_yield_middle, -- number of earlier applications priced at a middle interest rate; family: interest rates of earlier applications
    yield_low::double as previous_yield_low, -- number of earlier applications priced at a low interest rate; family: interest rates of earlier applications
    yield_action::double as previous_yield_action, -- number of earlier applications priced at a promotional interest rate; family: interest rates of earlier applications
    yield_high / nullif(yield_known, 0) as previous_yield_high_share, -- share of earlier applications priced at a high interest rate; family: interest rates of earlier applications
    channel_office::double as previous_channel_office, -- number of earlier applications through a credit office
    channel_shop::double as previous_channel_shop, -- number of earlier applications through a shop
    channel_phone::double as previous_channel_phone, -- number of earlier applications through a call centre

    -- amounts and terms
    asked_mean as previous_asked_mean, -- average amount asked for in earlier applications; family: amounts asked for earlier
    asked_max::double as previous_asked_max, -- largest amount asked for in earlier applications; family: amounts asked for earlier
    asked_refused_mean as previous_asked_refused_mean, -- average amount asked for in refused applications; if missing: no amount of a refused application on record; family: amounts asked for earlier
    credit_sum::double as previous_credit_sum, -- total amount of earlier loans from us; family: amounts of earlier loans
    credit_mean as previous_credit_mean, -- average amount of earlier loans from us; family: amounts of earlier loans
    credit_max::double as previous_credit_max, -- largest earlier loan from us; family: amounts of earlier loans
    annuity_mean as previous_annuity_mean, -- average instalment of earlier loans from us; family: instalments of earlier loans
    annuity_max::double as previous_annuity_max, -- largest instalment of earlier loans from us; family: instalments of earlier loans
    credit_to_asked_mean as previous_credit_to_asked_mean, -- average amount granted compared with the amount asked for earlier; family: amounts granted compared with amounts asked for
    credit_to_asked_min::double as previous_credit_to_asked_min, -- lowest amount granted compared with the amount asked for earlier; family: amounts granted compared with amounts asked for
    annuity_to_credit_mean as previous_annuity_to_credit_mean, -- average instalment compared with the amount of earlier loans
    term_mean as previous_term_mean, -- average number of instalments of earlier loans; family: terms of earlier loans
    term_refused_mean as previous_term_refused_mean, -- average number of instalments asked for in refused applications; family: terms of earlier loans
    cost_mean as previous_cost_mean, -- average total cost of earlier loans compared with their amount
    cost_max::double as previous_cost_max, -- highest total cost of an earlier loan compared with its amount
    down_payment_mean as previous_down_payment_mean, -- average down payment on earlier loans; family: down payments on earlier loans
    down_payment_max::double as previous_down_payment_max, -- largest down payment in earlier applications; family: down payments on earlier loans
    down_payment_rate_mean as previous_down_payment_rate_mean, -- average share paid down on earlier loans; family: down payments on earlier loans
    insured / nullif(approvals, 0) as previous_insured_share, -- share of earlier loans taken with insurance

    -- recency and velocity
    days_since_last::double as previous_days_since_last, -- days since the last earlier application; family: number of earlier applications
    days_since_first::double as previous_days_since_first, -- days since the first application to us
    days_since_approved::double as previous_days_since_approved, -- days since our last approval; if missing: no earlier approval on record; family: earlier approvals
    days_since_refused::double as previous_days_since_refused, -- days since our last refusal; if missing: no earlier refusal on record; family: earlier refusals
    days_ago_approved_mean as previous_approved_age_mean, -- average days since earlier loans from us were approved
    (days_since_first - days_since_last) / nullif(applications - 1, 0) as previous_days_between, -- average days between earlier applications; if missing: no second earlier application on record; family: number of earlier applications
    applications_30::double as previous_applications_30, -- number of applications to us in the last 30 days; family: number of earlier applications
    applications_90::double as previous_applications_90, -- number of applications to us in the last 3 months; family: number of earlier applications
    applications_180::double as previous_applications_180, -- number of applications to us in the last 6 months; family: number of earlier applications
    applications_365::double as previous_applications_365, -- number of applications to us in the last 12 months; family: number of earlier applications
    applications_730::double as previous_applications_730, -- number of applications to us in the last 24 months; family: number of earlier applications
    (applications_365 - applications_year_before)::double as previous_applications_change, -- change in applications to us between the year before last and the last year; family: number of earlier applications
    refusals_90::double as previous_refusals_90, -- number of our refusals in the last 3 months; family: earlier refusals
    refusals_365::double as previous_refusals_365, -- number of our refusals in the last 12 months; family: earlier refusals
    refusals_730::double as previous_refusals_730, -- number of our refusals in the last 24 months; family: earlier refusals
    refusals_365 / nullif(applications_365, 0) as previous_refusal_share_365, -- share of applications to us refused in the last 12 months; family: earlier refusals
    approvals_365::double as previous_approvals_365, -- number of our approvals in the last 12 months; family: earlier approvals
    credit_365::double as previous_credit_365, -- amount of loans taken from us in the last 12 months; family: amounts of earlier loans
    credit_730::double as previous_credit_730, -- amount of loans taken from us in the last 24 months; family: amounts of earlier loans

    -- loans still running, and how earlier ones ended
    history.running::double as previous_running, -- number of loans from us still running; family: loans from us still running
    running_credit::double as previous_running_credit, -- amount of loans from us still running; family: loans from us still running
    running_annuity::double as previous_running_annuity, -- instalments of loans from us still running; family: loans from us still running
    days_to_planned_end::double as previous_days_to_planned_end, -- days until the last running loan from us is planned to end; if missing: no running loan from us with a planned end on record; family: loans from us still running
    ended_early_days_mean as previous_ended_early_days_mean, -- average days that earlier loans from us ended before plan; family: earlier loans against their planned end
    ended_early / nullif(ended, 0) as previous_ended_early_share, -- share of earlier loans from us ended before plan; family: earlier loans against their planned end
    ended_late / nullif(ended, 0) as previous_ended_late_share, -- share of earlier loans from us ended after plan; family: earlier loans against their planned end
    repaid_days_mean as previous_repaid_days_mean, -- average days taken to repay earlier loans from us
    -last_terminated::double as previous_days_since_ended, -- days since a loan from us last ended; if missing: no ended loan from us on record

    -- the last application and the last loan
    last_application.status as previous_last_status, -- outcome of the last earlier application
    last_application.NAME_CONTRACT_TYPE as previous_last_contract_type, -- kind of loan in the last earlier application
    nullif(last_application.NAME_YIELD_GROUP, 'XNA') as previous_last_yield_group, -- interest rate group of the last earlier application; family: interest rates of earlier applications
    last_application.CODE_REJECT_REASON as previous_last_reject_reason, -- reason recorded for the last earlier application; family: earlier refusals
    last_application.asked::double as previous_last_asked, -- amount asked for in the last earlier application; family: amounts asked for earlier
    last_application.credit_to_asked::double as previous_last_credit_to_asked, -- amount granted compared with the amount asked for last time; family: amounts granted compared with amounts asked for
    last_application.term::double as previous_last_term, -- number of instalments in the last earlier application; family: terms of earlier loans
    last_approval.credit::double as previous_last_credit, -- amount of the last loan from us; if missing: no earlier loan from us on record; family: amounts of earlier loans
    last_approval.annuity::double as previous_last_annuity, -- instalment of the last loan from us; if missing: no instalment of an earlier loan from us on record; family: instalments of earlier loans
    last_approval.down_payment_rate::double as previous_last_down_payment_rate, -- share paid down on the last loan from us; family: down payments on earlier loans
    (last_approval.credit / credit_mean)::double as previous_last_credit_to_mean -- last loan from us compared with the usual amount
from history
left join last_application using (SK_ID_CURR)
left join last_approval using (SK_ID_CURR)
left join since_last_approval using (SK_ID_CURR)
