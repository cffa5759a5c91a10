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
        count(case when approved then 1 end) as approvals,
        count(case when refused then 1 end) as refusals,
        count(case when status = 'Canceled' then 1 end) as cancellations,
        count(case when status = 'Unused offer' then 1 end) as unused,
        count(case when CODE_REJECT_REASON = 'HC' then 1 end) as refused_hc,
        count(case when CODE_REJECT_REASON = 'LIMIT' then 1 end) as refused_limit,
        count(case when CODE_REJECT_REASON = 'SCO' then 1 end) as refused_score,
        count(case when CODE_REJECT_REASON = 'SCOFR' then 1 end) as refused_fraud_score,
        count(case when CODE_REJECT_REASON = 'VERIF' then 1 end) as refused_verification,
        count(case when refused and CODE_REJECT_REASON not in ('HC', 'LIMIT', 'SCO', 'SCOFR', 'VERIF') then 1 end) as refused_other,
        count(case when NAME_CONTRACT_TYPE = 'Cash loans' and approved then 1 end) as cash_approved,
        count(case when NAME_CONTRACT_TYPE = 'Consumer loans' and approved then 1 end) as consumer_approved,
        count(case when NAME_CONTRACT_TYPE = 'Revolving loans' and approved then 1 end) as revolving_approved,
        count(case when NAME_CONTRACT_TYPE = 'Cash loans' and refused then 1 end) as cash_refused,
        count(case when NAME_CONTRACT_TYPE = 'Consumer loans' and refused then 1 end) as consumer_refused,
        count(case when NAME_CONTRACT_TYPE = 'Revolving loans' and refused then 1 end) as revolving_refused,
        count(case when NAME_PRODUCT_TYPE = 'x-sell' then 1 end) as cross_sold,
        count(case when NAME_YIELD_GROUP = 'high' then 1 end) as yield_high,
        count(case when NAME_YIELD_GROUP = 'middle' then 1 end) as yield_middle,
        count(case when NAME_YIELD_GROUP = 'low_normal' then 1 end) as yield_low,
        count(case when NAME_YIELD_GROUP = 'low_action' then 1 end) as yield_action,
        count(case when NAME_YIELD_GROUP <> 'XNA' then 1 end) as yield_known,
        count(case when CHANNEL_TYPE = 'Credit and cash offices' then 1 end) as channel_office,
        count(case when CHANNEL_TYPE in ('Country-wide', 'Regional / Local', 'Stone') then 1 end) as channel_shop,
        count(case when CHANNEL_TYPE = 'Contact center' then 1 end) as channel_phone,

        avg(asked) as asked_mean,
        max(asked) as asked_max,
        avg(case when refused then asked end) as asked_refused_mean,
        sum(case when approved then credit end) as credit_sum,
        avg(case when approved then credit end) as credit_mean,
        max(case when approved then credit end) as credit_max,
        avg(case when approved then annuity end) as annuity_mean,
        max(case when approved then annuity end) as annuity_max,
        avg(case when approved then credit_to_asked end) as credit_to_asked_mean,
        min(case when approved then credit_to_asked end) as credit_to_asked_min,
        avg(case when approved then annuity_to_credit end) as annuity_to_credit_mean,
        avg(case when approved then term end) as term_mean,
        avg(case when refused then term end) as term_refused_mean,
        avg(case when approved then cost end) as cost_mean,
        max(case when approved then cost end) as cost_max,
        avg(case when approved then down_payment end) as down_payment_mean,
        max(down_payment) as down_payment_max,
        avg(case when approved then down_payment_rate end) as down_payment_rate_mean,
        count(case when approved and NFLAG_INSURED_ON_APPROVAL = 1 then 1 end) as insured,

        min(days_ago) as days_since_last,
        max(days_ago) as days_since_first,
        min(case when approved then days_ago end) as days_since_approved,
        min(case when refused then days_ago end) as days_since_refused,
        avg(case when approved then days_ago end) as days_ago_approved_mean,

        count(case when days_ago <= 30 then 1 end) as applications_30,
        count(case when days_ago <= 90 then 1 end) as applications_90,
        count(case when days_ago <= 180 then 1 end) as applications_180,
        count(case when days_ago <= 365 then 1 end) as applications_365,
        count(case when days_ago <= 730 then 1 end) as applications_730,
        count(case when days_ago between 366 and 730 then 1 end) as applications_year_before,
        count(case when refused and days_ago <= 90 then 1 end) as refusals_90,
        count(case when refused and days_ago <= 365 then 1 end) as refusals_365,
        count(case when refused and days_ago <= 730 then 1 end) as refusals_730,
        count(case when approved and days_ago <= 365 then 1 end) as approvals_365,
        sum(case when approved and days_ago <= 365 then credit end) as credit_365,
        sum(case when approved and days_ago <= 730 then credit end) as credit_730,

        count(case when running then 1 end) as running,
        sum(case when running then credit end) as running_credit,
        sum(case when running then annuity end) as running_annuity,
        max(case when running then planned_last_due end) as days_to_planned_end,
        avg(case when approved then planned_last_due - last_due end) as ended_early_days_mean,
        count(case when approved and last_due < planned_last_due then 1 end) as ended_early,
        count(case when approved and last_due > planned_last_due then 1 end) as ended_late,
        count(case when approved and last_due is not null and planned_last_due is not null then 1 end) as ended,
        avg(case when approved then last_due - first_due end) as repaid_days_mean,
        max(case when approved then terminated end) as last_terminated
    from previous
    group by SK_ID_CURR
),

-- of two applications on one day, the one with the larger id is the last; only the applications of
-- that day are ranked, because ranking all of them takes longer
last_application as (
    select previous.*
    from previous
    inner join history using (SK_ID_CURR)
    where previous.days_ago = history.days_since_last
    qualify row_number() over (partition by previous.SK_ID_CURR order by previous.SK_ID_PREV desc) = 1
),

last_approval as (
    select previous.*
    from previous
    inner join history using (SK_ID_CURR)
    where previous.approved and previous.days_ago = history.days_since_approved
    qualify row_number() over (partition by previous.SK_ID_CURR order by previous.SK_ID_PREV desc) = 1
),

since_last_approval as (
    select previous.SK_ID_CURR, count(*) as refusals_since
    from previous
    inner join history using (SK_ID_CURR)
    where previous.refused and previous.days_ago < coalesce(history.days_since_approved, 100000)
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
