-- All facts known about an applicant at the application: the features of all sources, joined, and
-- features that combine two sources. One row per applicant; without a history, its features are null.
select
    application.*,
    bureau.* exclude (SK_ID_CURR),
    previous.* exclude (SK_ID_CURR),
    instalment.* exclude (SK_ID_CURR),
    pos.* exclude (SK_ID_CURR),
    card.* exclude (SK_ID_CURR),

    -- debts and instalments relative to income
    bureau_debt / nullif(income_total, 0) as debt_to_income, -- debt at other lenders compared with income; if missing: debt at other lenders compared with income: none on record
    (coalesce(bureau_debt, 0) + credit_amount) / nullif(income_total, 0) as debt_with_loan_to_income, -- debt at other lenders and the loan applied for compared with income
    bureau_credit_active / nullif(income_total, 0) as bureau_credit_to_income, -- amount of open loans at other lenders compared with income; if missing: amount of open loans at other lenders compared with income: none on record
    bureau_annuity / nullif(income_total, 0) as bureau_annuity_to_income, -- instalments at other lenders compared with income; if missing: instalments at other lenders compared with income: none on record
    (coalesce(bureau_annuity, 0) + coalesce(previous_running_annuity, 0) + annuity_amount)
    / nullif(income_total, 0) as all_annuities_to_income, -- all loan instalments compared with income
    previous_running_credit / nullif(income_total, 0) as running_credit_to_income, -- amount of loans from us still running compared with income; if missing: amount of loans from us still running compared with income: none on record
    card_balance / nullif(income_total, 0) as card_balance_to_income, -- present balance on credit cards from us compared with income; if missing: balance on credit cards from us compared with income: none on record
    card_drawn_mean_12 / nullif(income_total, 0) as card_drawn_to_income, -- amount drawn a month on credit cards compared with income; if missing: amount drawn on credit cards compared with income: none on record
    instalment_amount_365 / nullif(income_total, 0) as instalments_365_to_income, -- loan instalments of the last 12 months compared with income; if missing: loan instalments of the last 12 months compared with income: none on record

    -- this application compared with earlier ones
    credit_amount / nullif(previous_credit_mean, 0) as credit_to_previous_mean, -- loan amount compared with the average earlier loan from us; if missing: no earlier loan from us to compare the loan amount with; family: loan amount compared with earlier loans
    credit_amount / nullif(previous_credit_max, 0) as credit_to_previous_max, -- loan amount compared with the largest earlier loan from us; if missing: no earlier loan from us to compare the loan amount with; family: loan amount compared with earlier loans
    credit_amount / nullif(previous_last_credit, 0) as credit_to_previous_last, -- loan amount compared with the last loan from us; if missing: no last loan from us to compare the loan amount with; family: loan amount compared with earlier loans
    credit_amount / nullif(bureau_credit_max, 0) as credit_to_bureau_max, -- loan amount compared with the largest loan at another lender; if missing: no loan at another lender to compare the loan amount with
    annuity_amount / nullif(previous_annuity_mean, 0) as annuity_to_previous_mean, -- loan instalment compared with the average earlier instalment; if missing: no earlier instalment to compare the loan instalment with; family: loan instalment compared with earlier instalments
    annuity_amount / nullif(previous_last_annuity, 0) as annuity_to_previous_last, -- loan instalment compared with the instalment of the last loan from us; if missing: no instalment of a last loan from us to compare the loan instalment with; family: loan instalment compared with earlier instalments
    annuity_amount / nullif(instalment_amount_mean, 0) as annuity_to_paid_instalments, -- loan instalment compared with instalments paid so far; if missing: no instalment paid so far to compare the loan instalment with; family: loan instalment compared with earlier instalments
    annuity_amount / nullif(credit_amount, 0) - previous_annuity_to_credit_mean as annuity_to_credit_change -- instalment for each unit borrowed compared with earlier loans; if missing: no earlier loan from us to compare the instalment for each unit borrowed with
from application_features as application
left join bureau_features as bureau using (SK_ID_CURR)
left join previous_application_features as previous using (SK_ID_CURR)
left join instalment_features as instalment using (SK_ID_CURR)
left join pos_features as pos using (SK_ID_CURR)
left join card_features as card using (SK_ID_CURR)
