"""The contract of LendingClub's loan files, in both layouts (145 columns, and 151 with the borrowers' FICO ranges).

If files write a value differently ("36 months" or 36, "13.5%" or 0.135, Dec-2011 or 2011-12-01), it is text as in the
file, which sql/lending_club/ unifies. The YAML lists the columns that are known only after the decision.
"""

from __future__ import annotations

from typing import Any

import pandera.pandas as pa

from credit_assets.schemas.table import Table

# Beyond all values of the source: they reject infinities and wrong units, but no row.
LARGEST_AMOUNT = 1_000_000_000.0
LARGEST_COUNT = 10_000.0
LARGEST_PERCENT = 10_000.0
LONGEST_MONTHS = 1_200.0

DATE = r"[A-Z][a-z]{2}-\d{4}$|\d{4}-\d{2}-\d{2}$"
TERM = r" ?\d{2}( months)?$"
RATE = r" *\d{1,6}(\.\d+)?(e-\d+)? ?%?$"
YEARS = r"< 1 year$|\d+\+? years?$|n/a$"

STATES_OF_A_LOAN = ("Fully Paid", "Charged Off", "Default", "Current", "Issued", "In Grace Period")
LATE = ("Late (16-30 days)", "Late (31-120 days)")
OUTSIDE_POLICY = "Does not meet the credit policy. Status:"
STATUSES = (*STATES_OF_A_LOAN, *LATE, *(OUTSIDE_POLICY + word for word in (*STATES_OF_A_LOAN, *LATE)))
KINDS = ("Individual", "INDIVIDUAL", "Joint App", "JOINT", "DIRECT_PAY")
HOMES = ("RENT", "MORTGAGE", "OWN", "OTHER", "NONE", "ANY")
PURPOSES = (
    "car",
    "credit_card",
    "debt_consolidation",
    "educational",
    "home_improvement",
    "house",
    "major_purchase",
    "medical",
    "moving",
    "other",
    "renewable_energy",
    "small_business",
    "vacation",
    "wedding",
)


def amount(words: str, least: float = 0.0) -> Any:
    """US dollars."""
    return _number(words, least, LARGEST_AMOUNT, "US dollars")


def payment(words: str) -> Any:
    """US dollars; the source's rounding may leave values slightly below zero."""
    return amount(words, least=-1.0)


def count(words: str) -> Any:
    return _number(words, 0.0, LARGEST_COUNT)


def percent(words: str, least: float = 0.0) -> Any:
    """A number in percent: 27.65 is 27.65%."""
    return _number(words, least, LARGEST_PERCENT, "percent")


def months(words: str) -> Any:
    return _number(words, 0.0, LONGEST_MONTHS, "months")


def score(words: str) -> Any:
    """A FICO score; 0 if the bureau had none."""
    return _number(words, 0.0, 850.0, "FICO points")


def text(words: str, pattern: str | None = None) -> Any:
    return pa.Field(nullable=True, description=words, **({"str_matches": pattern} if pattern else {}))


def word(words: str, allowed: tuple[str, ...]) -> Any:
    """One of the source's categories."""
    return pa.Field(nullable=True, isin=list(allowed), description=words)


def _number(words: str, least: float, most: float, unit: str | None = None) -> Any:
    return pa.Field(nullable=True, ge=least, le=most, description=words, metadata={"unit": unit} if unit else None)


class Applications(Table):
    """A loan that LendingClub issued: the application, the credit bureau's data on the borrower at that time, and (in
    files of later years) the loan's performance since. Open loans and new applications have no outcome yet."""

    id: str = pa.Field(unique=True, description="The loan; numbered by the platform if the file does not name it")
    member_id: str | None = text("The borrower; empty in public files")
    url: str | None = text("Page of the listing")
    issue_d: str = pa.Field(str_matches=DATE, description="Month in which the loan was issued")
    issue_year: float | None = _number("Year of issue, which some copies of the files add", 2000.0, 2100.0)
    policy_code: float | None = count("1: product open to the public, 2: product that is not")

    # The requested loan.
    loan_amnt: float = pa.Field(
        gt=0, le=LARGEST_AMOUNT, description="Amount applied for", metadata={"unit": "US dollars"}
    )
    term: str = pa.Field(str_matches=TERM, description="Monthly instalments asked for: 36 or 60")
    purpose: str | None = word("What the money is for, chosen from a list", PURPOSES)
    title: str | None = text("Title that the borrower gave the loan")
    desc: str | None = text("What the borrower wrote about the loan while it was listed")
    application_type: str | None = word("Whether one borrower applies or two", KINDS)

    # The lender's terms.
    int_rate: str | None = text("Interest rate that the lender set", RATE)
    installment: float | None = amount("Monthly instalment at that rate")
    grade: str | None = text("Risk grade that the lender gave, A to G", r"[A-G]$")
    sub_grade: str | None = text("Risk grade in five steps, A1 to G5", r"[A-G][1-5]$")
    funded_amnt: float | None = amount("Amount the lender committed")
    funded_amnt_inv: float | None = amount("Amount investors committed")
    initial_list_status: str | None = text(
        "How the loan was first offered to investors: w whole, f in fractions", r"[fw]$"
    )
    disbursement_method: str | None = text("Whether the money goes to the borrower or straight to creditors")

    # The borrower's statements.
    annual_inc: float | None = amount("Income stated, a year")
    verification_status: str | None = text("Whether the income, or only its source, was verified")
    emp_title: str | None = text("Job title, or in the early years the employer's name")
    emp_length: str | None = text("Years in this employment: < 1 year to 10+ years", YEARS)
    home_ownership: str | None = word("Whether the home is rented, owned or mortgaged", HOMES)
    zip_code: str | None = text("First three digits of the ZIP code")
    addr_state: str | None = text("State lived in", r"[A-Z]{2}$")
    dti: float | None = percent(
        "Monthly debt payments, without mortgage and this loan, as a share of income", least=-1.0
    )

    # The credit bureau's data at the application.
    fico_range_low: float | None = score("Lower end of the FICO range")
    fico_range_high: float | None = score("Upper end of the FICO range")
    earliest_cr_line: str | None = text("Month in which the oldest credit line was opened", DATE)
    delinq_2yrs: float | None = count("Times 30 days or more late in the last two years")
    mths_since_last_delinq: float | None = months("Months since the last late payment")
    mths_since_last_major_derog: float | None = months("Months since the last rating of 90 days late or worse")
    mths_since_last_record: float | None = months("Months since the last public record")
    inq_last_6mths: float | None = count("Enquiries in the last six months, without those for cars and mortgages")
    open_acc: float | None = count("Open credit lines")
    total_acc: float | None = count("Credit lines ever")
    pub_rec: float | None = count("Derogatory public records")
    pub_rec_bankruptcies: float | None = count("Bankruptcies on public record")
    tax_liens: float | None = count("Tax liens")
    revol_bal: float | None = amount("Balance of revolving credit")
    revol_util: str | None = text("Share of the revolving credit limit in use", RATE)
    acc_now_delinq: float | None = count("Accounts late at present")
    delinq_amnt: float | None = amount("Amount past due on accounts late at present")
    chargeoff_within_12_mths: float | None = count("Charge-offs in the last 12 months")
    collections_12_mths_ex_med: float | None = count("Collections in the last 12 months, without medical ones")
    tot_coll_amt: float | None = amount("Amounts ever put to collection")

    # The bureau's extended report, in files from 2012 on.
    tot_cur_bal: float | None = amount("Balance of all accounts")
    tot_hi_cred_lim: float | None = amount("Limit or highest credit of all accounts")
    total_bal_ex_mort: float | None = amount("Balance of all accounts but mortgages")
    total_bal_il: float | None = amount("Balance of instalment accounts")
    total_il_high_credit_limit: float | None = amount("Limit or highest credit of instalment accounts")
    total_bc_limit: float | None = amount("Limit of bank cards")
    total_rev_hi_lim: float | None = amount("Limit or highest credit of revolving accounts")
    avg_cur_bal: float | None = amount("Average balance of an account")
    max_bal_bc: float | None = amount("Largest balance on a revolving account")
    bc_open_to_buy: float | None = amount("Credit left on bank cards")
    bc_util: float | None = percent("Share of the bank cards' limit in use")
    il_util: float | None = percent("Balance of instalment accounts as a share of their highest credit")
    all_util: float | None = percent("Balance of all accounts as a share of their limits")
    percent_bc_gt_75: float | None = percent("Share of bank cards with more than three quarters in use")
    pct_tl_nvr_dlq: float | None = percent("Share of accounts never late")
    open_acc_6m: float | None = count("Accounts opened in the last six months")
    acc_open_past_24mths: float | None = count("Accounts opened in the last 24 months")
    open_act_il: float | None = count("Active instalment accounts")
    open_il_12m: float | None = count("Instalment accounts opened in the last 12 months")
    open_il_24m: float | None = count("Instalment accounts opened in the last 24 months")
    open_rv_12m: float | None = count("Revolving accounts opened in the last 12 months")
    open_rv_24m: float | None = count("Revolving accounts opened in the last 24 months")
    inq_fi: float | None = count("Enquiries of finance companies")
    inq_last_12m: float | None = count("Enquiries in the last 12 months")
    total_cu_tl: float | None = count("Accounts with finance companies")
    mort_acc: float | None = count("Mortgages")
    mths_since_rcnt_il: float | None = months("Months since an instalment account was last opened")
    mths_since_recent_bc: float | None = months("Months since a bank card was last opened")
    mths_since_recent_bc_dlq: float | None = months("Months since a bank card was last late")
    mths_since_recent_inq: float | None = months("Months since the last enquiry")
    mths_since_recent_revol_delinq: float | None = months("Months since a revolving account was last late")
    mo_sin_old_il_acct: float | None = months("Months since the oldest instalment account was opened")
    mo_sin_old_rev_tl_op: float | None = months("Months since the oldest revolving account was opened")
    mo_sin_rcnt_rev_tl_op: float | None = months("Months since a revolving account was last opened")
    mo_sin_rcnt_tl: float | None = months("Months since any account was last opened")
    num_accts_ever_120_pd: float | None = count("Accounts ever 120 days late or more")
    num_actv_bc_tl: float | None = count("Bank cards in use")
    num_actv_rev_tl: float | None = count("Revolving accounts in use")
    num_bc_sats: float | None = count("Bank cards in good standing")
    num_bc_tl: float | None = count("Bank cards ever")
    num_il_tl: float | None = count("Instalment accounts ever")
    num_op_rev_tl: float | None = count("Open revolving accounts")
    num_rev_accts: float | None = count("Revolving accounts ever")
    num_rev_tl_bal_gt_0: float | None = count("Revolving accounts with a balance")
    num_sats: float | None = count("Accounts in good standing")
    num_tl_120dpd_2m: float | None = count("Accounts 120 days late now, as of the last two months")
    num_tl_30dpd: float | None = count("Accounts 30 days late now, as of the last two months")
    num_tl_90g_dpd_24m: float | None = count("Accounts 90 days late or more in the last 24 months")
    num_tl_op_past_12m: float | None = count("Accounts opened in the last 12 months")

    # Joint applications: of both borrowers, and of the second one.
    annual_inc_joint: float | None = amount("Income stated by both, a year")
    dti_joint: float | None = percent("Monthly debt payments of both as a share of their income", least=-1.0)
    verification_status_joint: str | None = text("Whether the income of both was verified")
    revol_bal_joint: float | None = amount("Balance of both borrowers' revolving credit")
    sec_app_fico_range_low: float | None = score("Lower end of the second borrower's FICO range")
    sec_app_fico_range_high: float | None = score("Upper end of the second borrower's FICO range")
    sec_app_earliest_cr_line: str | None = text("Month of the second borrower's oldest credit line", DATE)
    sec_app_inq_last_6mths: float | None = count("Enquiries about the second borrower in the last six months")
    sec_app_mort_acc: float | None = count("Mortgages of the second borrower")
    sec_app_open_acc: float | None = count("Open credit lines of the second borrower")
    sec_app_revol_util: float | None = percent("Share of the second borrower's revolving limit in use")
    sec_app_open_act_il: float | None = count("Active instalment accounts of the second borrower")
    sec_app_num_rev_accts: float | None = count("Revolving accounts of the second borrower")
    sec_app_chargeoff_within_12_mths: float | None = count("Charge-offs of the second borrower in the last 12 months")
    sec_app_collections_12_mths_ex_med: float | None = count(
        "Collections from the second borrower in the last 12 months"
    )
    sec_app_mths_since_last_major_derog: float | None = months(
        "Months since the second borrower was 90 days late or worse"
    )

    # The loan's performance since.
    loan_status: str | None = word("Status of the loan on the date of the file", STATUSES)
    pymnt_plan: str | None = text("Whether a payment plan was agreed", r"[yn]$")
    out_prncp: float | None = payment("Principal still owed")
    out_prncp_inv: float | None = payment("Principal still owed to investors")
    total_pymnt: float | None = payment("Paid so far")
    total_pymnt_inv: float | None = payment("Paid so far to investors")
    total_rec_prncp: float | None = payment("Principal paid so far")
    total_rec_int: float | None = payment("Interest paid so far")
    total_rec_late_fee: float | None = payment("Late fees paid so far")
    recoveries: float | None = payment("Recovered after the charge-off")
    collection_recovery_fee: float | None = payment("Fee for what was recovered")
    last_pymnt_d: str | None = text("Month of the last payment", DATE)
    last_pymnt_amnt: float | None = payment("Last payment")
    next_pymnt_d: str | None = text("Month of the next payment due", DATE)
    last_credit_pull_d: str | None = text("Month in which the lender last asked the bureau", DATE)
    last_fico_range_high: float | None = score("Upper end of the FICO range last seen")
    last_fico_range_low: float | None = score("Lower end of the FICO range last seen")
    hardship_flag: str | None = text("Whether the borrower is on a hardship plan", r"[YN]$")
    hardship_type: str | None = text("Kind of hardship plan")
    hardship_reason: str | None = text("Reason given for the hardship plan")
    hardship_status: str | None = text("Whether the hardship plan is active, completed or broken")
    deferral_term: float | None = months("Months over which a hardship plan reduces payments")
    hardship_amount: float | None = payment("Monthly payment under the hardship plan")
    hardship_start_date: str | None = text("First day of the hardship plan", DATE)
    hardship_end_date: str | None = text("Last day of the hardship plan", DATE)
    payment_plan_start_date: str | None = text("Day of the first payment under the hardship plan", DATE)
    hardship_length: float | None = months("Months of smaller payments under the hardship plan")
    hardship_dpd: float | None = count("Days past due when the hardship plan began")
    hardship_loan_status: str | None = text("Status of the loan when the hardship plan began")
    orig_projected_additional_accrued_interest: float | None = payment(
        "Interest that the hardship plan was expected to add"
    )
    hardship_payoff_balance_amount: float | None = payment("Amount owed when the hardship plan began")
    hardship_last_payment_amount: float | None = payment("Last payment before the hardship plan")
    debt_settlement_flag: str | None = text("Whether a charged-off borrower settles through a company", r"[YN]$")
    debt_settlement_flag_date: str | None = text("Month in which the settlement flag was last set", DATE)
    settlement_status: str | None = text("Whether the settlement is active, complete or broken")
    settlement_date: str | None = text("Month in which the settlement was agreed", DATE)
    settlement_amount: float | None = payment("Amount agreed to settle for")
    settlement_percentage: float | None = percent("Share of the debt that is settled for")
    settlement_term: float | None = months("Months over which the settlement is paid")


TABLES = {"applications": Applications}
