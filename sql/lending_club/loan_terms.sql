-- The requested loan and the borrower's statements. Formats that differ between LendingClub's files are
-- unified: "36 months" and 36; "13.5%", 13.5 and 0.135; "< 1 year" and "10+ years". The lender's own
-- price comes last; the configuration decides whether models may learn from it.
with loan as (
    select
        *,
        cast(regexp_extract(term, '\d+') as double) as instalments,
        -- files with "36 months" have 13.5 for 13.5%; files with 36 have 0.135
        case when contains(int_rate, '%') or contains(term, 'months') then 100 else 1 end as rate_unit,
        -- incomes below a thousandth are not used as divisors
        nullif(round(annual_inc, 3), 0) as income,
        lower(coalesce(title, '')) as words
    from applications
)

select
    id,

    -- requested loan
    loan_amnt as loan_amount, -- amount of the loan applied for
    instalments as term_months, -- number of monthly instalments asked for
    purpose as loan_purpose, -- purpose of the loan
    loan_amnt / income as loan_to_income, -- loan amount compared with income

    -- the borrower's title; the description may still change while investors read it
    length(trim(title))::double as title_length, -- length of the loan's title; if missing: no title given to the loan
    (title = lower(title))::double as title_without_capitals, -- loan's title written without capitals; if missing: no title given to the loan
    contains(words, 'business')::double as says_business, -- mention of a business in the loan's title
    (
        contains(words, 'card')::integer
        + contains(words, 'credit')::integer
        + contains(words, 'debt')::integer
        + contains(words, 'balance')::integer
        + regexp_matches(words, '\brates?\b|interest')::integer
        + regexp_matches(words, 'pay(ing)? (it |them )?off|paid off')::integer
    )::double as says_refinancing, -- how much the loan's title speaks of refinancing debts
    (
        contains(words, 'need')::integer
        + contains(words, 'help')::integer
        + contains(words, 'bills')::integer
        + contains(words, 'opportunit')::integer
    )::double as says_need, -- how much the loan's title speaks of need

    -- income, work and home
    annual_inc as income_total, -- income stated in the application
    case
        when starts_with(emp_length, '<') then 0
        else try_cast(regexp_extract(emp_length, '\d+') as double)
    end as employment_years, -- years in the present employment; if missing: length of present employment not stated
    length(trim(coalesce(emp_title, '')))::double as job_title_length, -- length of the job title given
    home_ownership as home, -- home rented, owned or mortgaged; if missing: home ownership not stated
    addr_state as state, -- state lived in

    -- the lender's own price
    cast(replace(int_rate, '%', '') as double) / rate_unit as interest_rate, -- interest rate set for the loan
    installment as instalment, -- monthly instalment at the interest rate set
    12 * installment / income as instalment_to_income, -- a year's instalments compared with income
    sub_grade as risk_grade -- risk grade given to the loan
from loan
