# %% [markdown]
# The platform from a notebook, without Dagster: load a portfolio, compute features, score applicants, explain a score.
# It reads what `make demo` made. Run it in the project's folder, or cell by cell in an editor that knows `# %%`.

# %%
import numpy as np

from credit_assets.book.book import Book
from credit_assets.decisions.policy import decide
from credit_assets.decisions.scorecard import band, points
from credit_assets.explanations.reasons import adverse_action_reasons
from credit_assets.explanations.texts import reason_texts
from credit_assets.features.compute import compute_features
from credit_assets.lake.connections import connect
from credit_assets.lake.tables import Lake
from credit_assets.models.registered import load_model
from credit_assets.settings.project import Project

# %% A portfolio is compiled to a book: its settings, contracts and SQL
project = Project.find()
book = Book.load(project, "home_credit")
descriptions = book.queries["features"].descriptions
origins = book.raw_lineage_of_values["features"]["bureau_debt_to_credit"]
print(f"{book.name} has {len(book.contracts)} raw tables and {len(descriptions)} features, such as:")
print("  bureau_debt_to_credit:", descriptions["bureau_debt_to_credit"])
print("  made from:", ", ".join(f"{table}.{column}" for table, column in origins))

# %% The raw rows of the newest scored batch, as views of a DuckDB connection
lake, con = Lake(project.lake), connect()
batch = max(lake.batches(book.portfolio.table("scores")))
for table in {table for query in book.queries.values() for table in query.inputs} - set(book.queries):
    rows = lake.relation(con, book.portfolio.table(table), [batch])
    rows.project("* EXCLUDE (batch)").create_view(table)

# %% Features are computed by the same SQL as in the platform, here for the five riskiest applicants
key = book.portfolio.entity_key
scores = lake.relation(con, book.portfolio.table("scores"), [batch]).order("pd DESC, applicant").limit(5).df()
features = compute_features(con, book.queries, scores["applicant"].tolist()).df()
features = features.set_index(key).loc[scores["applicant"]].reset_index()
print(features[[key, "credit_to_income", "bureau_debt_to_credit"]])

# %% The champion gives PDs; points, band and decision follow
champion = book.registry.champion()
assert champion is not None
model = load_model(book.registry, champion)
pds = model.pd(features)
card = points(pds, book.portfolio.scorecard)
decisions = decide(pds, cut_off=scores["cut_off"].iloc[0])
columns = features[key], pds, card, band(card, book.portfolio.scorecard), decisions
for applicant, pd, total, name, decision in zip(*columns, strict=True):
    print(f"{applicant}: PD {pd:.1%}, {total} points, band {name}, {decision}")

# %% Contributions explain a PD: with the base value they add up to its log-odds
contributions = model.contributions(features)
print(f"Why the PD of {features[key].iloc[0]} is {pds[0]:.1%}:")
for place in np.argsort(-contributions[0, :-1])[:5]:
    print(f"  {contributions[0, place]:+.3f}  {descriptions[model.features[place]]}")
print(f"  {contributions[0].sum():+.3f}  in all; the log-odds of the PD are {np.log(pds[0] / (1 - pds[0])):+.3f}")

# %% Adverse action reasons are the strongest families of features, as the SQL describes them
texts = reason_texts(book.queries, book.raw_lineage_of_values["features"], book.raw_lineage["features"])
reasons = adverse_action_reasons(contributions[:, :-1], model.features, features, texts)
print(reasons[["reason_1", "reason_2", "reason_3", "reason_4"]].iloc[0].to_string())

# %% What if the first applicant asked for half the loan?
halved = ", ".join(f"{amount} / 2 AS {amount}" for amount in ("AMT_CREDIT", "AMT_ANNUITY", "AMT_GOODS_PRICE"))
applicant = con.sql(f"SELECT * REPLACE ({halved}) FROM applications WHERE {key} = {features[key].iloc[0]}")
con.register("applications", applicant.arrow().read_all())
[half] = model.pd(compute_features(con, book.queries).df())
print(f"With half the loan the PD would be {half:.1%} instead of {pds[0]:.1%}.")
