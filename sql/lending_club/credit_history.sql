-- Credit bureau data on the borrower at the application. Dates are "Dec-2011" or 2011-12-01, the
-- utilisation of limits "13.5%", 13.5 or 0.135. Columns missing in files of the first years are null;
-- so are a FICO score of 0 and a debt-to-income of -1 or 999, which mean that there is none.
with bureau as (
    select
        *,
        coalesce(try_cast(issue_d as date), cast(try_strptime(issue_d, '%b-%Y') as date)) as issued,
        coalesce(try_cast(earliest_cr_line as date), cast(try_strptime(earliest_cr_line, '%b-%Y') as date)) as first_line,
        -- the same format as the interest rate in loan_terms.sql
        cast(replace(revol_util, '%', '') as double)
        / case when contains(revol_util, '%') or contains(term, 'months') then 100 else 1 end as utilisation
    from applications
)

select
    id,
    (12 * (year(issued) - year(first_line)) + month(issued) - month(first_line))::double as history_months, -- length of credit history; if missing: no credit history on file
    (nullif(fico_range_low, 0) + nullif(fico_range_high, 0)) / 2 as fico_score, -- FICO score; if missing: no FICO score
    case when dti between 0 and 100 then dti end as debt_to_income, -- monthly debt payments compared with income

    -- late payments and public records; without any, the first files have 0 months, later ones are empty
    delinq_2yrs as delinquencies, -- late payments in the last two years; family: late payments
    case when mths_since_last_delinq > 0 or delinq_2yrs > 0 then mths_since_last_delinq end as months_since_delinquency, -- months since the last late payment; if missing: no late payment on record; family: late payments
    mths_since_last_major_derog as months_since_major_delinquency, -- months since the last payment 90 days late or worse; if missing: no payment 90 days late or worse on record; family: late payments
    case when pub_rec > 0 then mths_since_last_record end as months_since_record, -- months since the last public record; if missing: no public record with a date on file; family: public records
    pub_rec as public_records, -- derogatory public records; family: public records
    -- the first files do not give the type of a record
    case when pub_rec = 0 then 0 else pub_rec_bankruptcies end as bankruptcies, -- bankruptcies on public record; family: public records
    case when pub_rec = 0 then 0 else tax_liens end as liens, -- tax liens on public record; family: public records

    -- enquiries and credit lines
    inq_last_6mths as enquiries, -- credit enquiries in the last six months; family: credit enquiries
    mths_since_recent_inq as months_since_enquiry, -- months since the last credit enquiry; if missing: no recent credit enquiry on record; family: credit enquiries
    open_acc as open_lines, -- open credit lines
    total_acc as lines_ever, -- credit lines ever opened
    open_acc / nullif(round(total_acc), 0) as open_lines_share, -- share of credit lines still open; if missing: no credit line on record
    inq_last_6mths / nullif(round(open_acc), 0) as enquiries_per_open_line, -- credit enquiries for each open credit line; if missing: no open credit line on record to compare enquiries with; family: credit enquiries
    acc_open_past_24mths as lines_opened_24_months, -- credit lines opened in the last 24 months; family: new credit lines
    mo_sin_rcnt_tl as months_since_new_line, -- months since the newest credit line was opened; if missing: no credit line with an opening date on record; family: new credit lines
    mort_acc as mortgages, -- number of mortgages

    -- balances and limits
    revol_bal as revolving_balance, -- balance of revolving credit; family: revolving balance
    utilisation as revolving_utilisation, -- share of the revolving credit limit in use
    case when utilisation >= 0.000001 then revol_bal / utilisation end as revolving_limit, -- limit of revolving credit; if missing: no limit of revolving credit on record
    revol_bal / nullif(round(open_acc), 0) as revolving_balance_per_line, -- revolving balance for each open credit line; if missing: no open credit line on record to compare the revolving balance with; family: revolving balance
    percent_bc_gt_75 as cards_nearly_full, -- share of bank cards with more than three quarters in use
    bc_open_to_buy as card_credit_left, -- credit left on bank cards
    tot_hi_cred_lim as total_limit -- limit of all credit lines
from bureau
