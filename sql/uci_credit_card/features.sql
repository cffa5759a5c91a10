-- Six months of a credit card: delays, utilisation of the limit, and how fast bills are paid. The source has
-- the months as columns; `history` has one row per client and month, where month 1 is the newest.
-- A payment is compared with the bill of the month before, which it pays.
with history (ID, credit_limit, month, status, bill, paid) as (
    select ID, LIMIT_BAL, 1, PAY_0, BILL_AMT1, PAY_AMT1 from applications
    union all select ID, LIMIT_BAL, 2, PAY_2, BILL_AMT2, PAY_AMT2 from applications
    union all select ID, LIMIT_BAL, 3, PAY_3, BILL_AMT3, PAY_AMT3 from applications
    union all select ID, LIMIT_BAL, 4, PAY_4, BILL_AMT4, PAY_AMT4 from applications
    union all select ID, LIMIT_BAL, 5, PAY_5, BILL_AMT5, PAY_AMT5 from applications
    union all select ID, LIMIT_BAL, 6, PAY_6, BILL_AMT6, PAY_AMT6 from applications
),

months as (
    select
        *,
        bill / credit_limit as used,
        greatest(status, 0) as delay,
        lead(bill) over newest_first as bill_before,
        paid / nullif(greatest(lead(bill) over newest_first, 0), 0) as paid_share,
        bill - lead(bill) over newest_first + paid as spent,
        month - max(if(status > 0, 0, month)) over newest_first as late_in_a_row
    from history
    window newest_first as (partition by ID order by month)
)

select
    ID,
    max(credit_limit) as credit_limit, -- credit limit
    max(status) filter (month = 1) as status_1, -- repayment status last month; family: record of repayment
    max(status) filter (month = 4) as status_4, -- repayment status 4 months ago; family: record of repayment
    count(*) filter (status > 0) as months_late, -- months with a delayed payment; family: record of repayment
    min(month) filter (status > 0) as last_late, -- how recently a payment was late; if missing: no late payment in the last six months; family: record of repayment
    min(month) filter (status > 1) as last_late_2, -- how recently a payment was two months late or more; if missing: no payment two months late or more in the last six months; family: record of repayment
    max(delay) as delay_max, -- longest delay of a payment; family: record of repayment
    sum(delay * (7 - month))::bigint as delay_recent, -- months of delay, recent ones counting more; family: record of repayment
    sum(status * (7 - 2 * month)) / 35 as status_trend, -- trend of the repayment status; family: record of repayment
    coalesce(min(month) filter (status <= 0), 7) - 1 as late_now, -- months late in a row until now; family: record of repayment
    max(late_in_a_row) as late_streak, -- most months late in a row; family: record of repayment
    count(*) filter (status = 0) as months_revolving, -- months in which only the minimum was paid; family: record of repayment
    count(*) filter (status = -1) as months_paid_in_full, -- months in which the bill was paid in full; family: record of repayment
    max(used) filter (month = 1) as used_1, -- share of the limit used last month; family: use of the limit
    max(used) filter (month = 2) as used_2, -- share of the limit used 2 months ago; family: use of the limit
    max(used) as used_max, -- highest share of the limit used; family: use of the limit
    min(used) as used_min, -- lowest share of the limit used; family: use of the limit
    max(used) - min(used) as used_range, -- ups and downs of the share of the limit used; family: use of the limit
    sum(bill * (7 - 2 * month)) / 35 / max(credit_limit) as used_trend, -- trend of the share of the limit used; family: use of the limit
    max(credit_limit - bill) filter (month = 1) as limit_left, -- what was left of the limit last month; family: use of the limit
    max(bill) as bill_max, -- highest bill; family: bills
    max(bill) filter (month = 1) as bill_1, -- bill of last month; family: bills
    max(paid_share) filter (month = 1) as paid_share_1, -- share of the bill paid last month; if missing: no bill to pay last month; family: payments against bills
    max(paid_share) filter (month = 2) as paid_share_2, -- share of the bill paid 2 months ago; if missing: no bill to pay 2 months ago; family: payments against bills
    max(paid_share) filter (month = 3) as paid_share_3, -- share of the bill paid 3 months ago; if missing: no bill to pay 3 months ago; family: payments against bills
    max(paid_share) filter (month = 4) as paid_share_4, -- share of the bill paid 4 months ago; if missing: no bill to pay 4 months ago; family: payments against bills
    max(paid_share) filter (month = 5) as paid_share_5, -- share of the bill paid 5 months ago; if missing: no bill to pay 5 months ago; family: payments against bills
    min(paid_share) as paid_share_min, -- lowest share of a bill paid; if missing: no bill to pay in the last six months; family: payments against bills
    sum(paid) / nullif(sum(greatest(bill_before, 0)), 0) as paid_to_billed, -- payments against bills; if missing: no bills to pay in the last six months; family: payments against bills
    count(*) filter (paid = 0) as months_unpaid, -- months without a payment; family: payments
    sum(paid)::bigint as paid_sum, -- payments in all; family: payments
    min(paid) as paid_min, -- lowest payment; family: payments
    max(paid) as paid_max, -- highest payment; family: payments
    max(paid) filter (month = 1) as paid_1, -- payment of last month; family: payments
    max(paid) filter (month = 2) as paid_2, -- payment 2 months ago; family: payments
    sum(paid * (7 - 2 * month)) / 35 / max(credit_limit) as paid_trend, -- trend of payments, against the limit; family: payments
    max(spent) / max(credit_limit) as spent_max, -- most spent in a month, against the limit; family: spending
    sum(spent) / max(credit_limit) as spent_sum, -- spending in all, against the limit; family: spending
    max(spent) filter (month = 1) / max(credit_limit) as spent_1, -- spending of last month, against the limit; family: spending
    max(spent) filter (month = 2) / max(credit_limit) as spent_2, -- spending 2 months ago, against the limit; family: spending
from months
group by ID
