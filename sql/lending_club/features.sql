-- One row per loan: its terms, the borrower's credit history, and ratios of the two. The lender's price is
-- not part of these ratios. Amounts below a thousandth of a dollar, which are rounding errors of the
-- source, are not used as divisors.
select
    loan.*,
    history.* exclude (id),
    revolving_balance / nullif(round(income_total, 3), 0) as revolving_balance_to_income, -- revolving balance compared with income; family: revolving credit compared with income
    revolving_limit / nullif(round(income_total, 3), 0) as revolving_limit_to_income, -- revolving credit limit compared with income; family: revolving credit compared with income
    loan_amount / nullif(round(revolving_balance, 3), 0) as loan_to_revolving_balance, -- loan amount compared with the revolving balance; if missing: no revolving balance on record to compare the loan amount with; family: loan amount compared with revolving credit
    case when revolving_limit >= 0.001 then loan_amount / revolving_limit end as loan_to_revolving_limit, -- loan amount compared with the revolving credit limit; if missing: no limit of revolving credit on record to compare the loan amount with; family: loan amount compared with revolving credit
    (loan_amount + revolving_balance) / nullif(round(income_total, 3), 0) as debt_with_loan_to_income, -- loan amount and revolving balance compared with income
    income_total / nullif(round(open_lines), 0) as income_per_open_line, -- income for each open credit line; if missing: no open credit line on record to compare income with
    income_total * (1 - debt_to_income / 100) as income_after_debts, -- income left after debt payments
    case when income_after_debts >= 0.001 then loan_amount / income_after_debts end as loan_to_income_after_debts -- loan amount compared with income left after debt payments
from loan_terms as loan
left join credit_history as history using (id)
