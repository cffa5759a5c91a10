"""Category shares and quantile curves of the application table, close to those of the public Home Credit data.
`applications.py` defines how columns depend on each other."""

from __future__ import annotations

AGE_DAYS = (7680, 8180, 9290, 12400, 15750, 19680, 23200, 24420, 25200)
DAYS_EMPLOYED_BY_AGE = (25, 40, 220, 770, 1650, 3200, 8000, 12800, 17900)
DAYS_REGISTRATION = (1, 60, 330, 2010, 4500, 7480, 11400, 13900, 22000)
DAYS_ID_PUBLISH = (0, 66, 375, 1720, 3250, 4300, 4945, 5500, 6500)
DAYS_PHONE_CHANGE = (1, 8, 120, 480, 920, 1680, 2580, 3200, 4290)
CAR_AGE = (0, 0, 1, 5, 9, 15, 26, 64, 70)
EXT_SOURCE_1 = (0.015, 0.083, 0.160, 0.334, 0.506, 0.675, 0.832, 0.890, 0.963)
EXT_SOURCE_2 = (0.00001, 0.034, 0.146, 0.392, 0.566, 0.664, 0.748, 0.782, 0.855)
EXT_SOURCE_3 = (0.0005, 0.063, 0.149, 0.371, 0.535, 0.669, 0.784, 0.825, 0.896)
POPULATION_RELATIVE = (0.0003, 0.0019, 0.005, 0.01, 0.0189, 0.0287, 0.0462, 0.0725, 0.0725)
POPULATION_LEVELS = 81

# Age bands of the tables below, in years: under 25, 25-29, ..., 55-59, 60 and over.
AGE_BANDS = (25, 30, 35, 40, 45, 50, 55, 60)

TYPE_SUITE = {
    "Unaccompanied": 0.812, "Family": 0.131, "Spouse, partner": 0.037, "Children": 0.0107,
    "Other_B": 0.0058, "Other_A": 0.0028, "Group of people": 0.0009,
}  # fmt: skip
INCOME_TYPES = (
    "Working", "Commercial associate", "Pensioner", "State servant", "Unemployed", "Student", "Businessman",
    "Maternity leave",
)  # fmt: skip
INCOME_TYPE_SHARES = (
    (0.62, 0.313, 0.002, 0.064, 0.0001, 0.0003, 0.0, 0.0),
    (0.60, 0.315, 0.003, 0.080, 0.0001, 0.0001, 0.0, 0.0),
    (0.62, 0.285, 0.005, 0.089, 0.0001, 0.0, 0.0, 0.0001),
    (0.63, 0.270, 0.009, 0.090, 0.0001, 0.0, 0.0001, 0.0),
    (0.63, 0.265, 0.016, 0.087, 0.0001, 0.0, 0.0001, 0.0),
    (0.64, 0.240, 0.040, 0.080, 0.0001, 0.0, 0.0, 0.0),
    (0.59, 0.210, 0.140, 0.060, 0.0001, 0.0, 0.0, 0.0),
    (0.28, 0.110, 0.570, 0.040, 0.0001, 0.0, 0.0, 0.0),
    (0.09, 0.045, 0.855, 0.010, 0.0, 0.0, 0.0, 0.0),
)
INCOME_TYPE_RISK = (0.10, -0.05, -0.10, -0.25, 0.90, -0.10, -0.30, 0.80)
EDUCATION = (
    "Secondary / secondary special", "Higher education", "Incomplete higher", "Lower secondary",
    "Academic degree",
)  # fmt: skip
EDUCATION_SHARES = (
    (0.68, 0.19, 0.12, 0.010, 0.0002),
    (0.62, 0.31, 0.06, 0.009, 0.0005),
    (0.67, 0.28, 0.04, 0.010, 0.0006),
    (0.75, 0.22, 0.015, 0.014, 0.0006),
)
EDUCATION_RISK = (0.10, -0.45, 0.0, 0.30, -0.70)
FAMILY_STATUS = ("Married", "Single / not married", "Civil marriage", "Separated", "Widow", "Unknown")
FAMILY_STATUS_SHARES = (
    (0.33, 0.515, 0.145, 0.010, 0.000, 0.0),
    (0.57, 0.260, 0.135, 0.035, 0.000, 0.0),
    (0.68, 0.155, 0.110, 0.054, 0.002, 0.0),
    (0.69, 0.125, 0.105, 0.066, 0.012, 0.0),
    (0.70, 0.105, 0.100, 0.075, 0.022, 0.0),
    (0.68, 0.090, 0.095, 0.090, 0.042, 0.0),
    (0.66, 0.100, 0.090, 0.080, 0.070, 0.00002),
    (0.63, 0.095, 0.070, 0.070, 0.130, 0.0),
    (0.54, 0.110, 0.050, 0.050, 0.250, 0.0),
)
CHILDREN_SHARES = (
    (0.79, 0.185, 0.023, 0.002, 0.0, 0.0), (0.57, 0.330, 0.090, 0.008, 0.001, 0.0),
    (0.40, 0.370, 0.200, 0.025, 0.004, 0.001), (0.38, 0.330, 0.250, 0.033, 0.005, 0.002),
    (0.55, 0.270, 0.155, 0.020, 0.004, 0.001), (0.76, 0.170, 0.060, 0.008, 0.002, 0.0),
    (0.91, 0.070, 0.017, 0.002, 0.001, 0.0), (0.97, 0.025, 0.004, 0.001, 0.0, 0.0),
    (0.99, 0.009, 0.001, 0.0, 0.0, 0.0),
)  # fmt: skip
HOUSING = (
    "House / apartment", "With parents", "Municipal apartment", "Rented apartment", "Office apartment",
    "Co-op apartment",
)  # fmt: skip
HOUSING_SHARES = (
    (0.68, 0.225, 0.030, 0.050, 0.010, 0.005),
    (0.80, 0.125, 0.030, 0.033, 0.009, 0.004),
    (0.89, 0.040, 0.038, 0.018, 0.009, 0.004),
    (0.935, 0.006, 0.038, 0.008, 0.008, 0.003),
)
HOUSING_RISK = (0.0, 0.22, 0.05, 0.32, -0.10, 0.0)
OCCUPATIONS = (
    "Laborers", "Sales staff", "Core staff", "Managers", "Drivers", "High skill tech staff", "Accountants",
    "Medicine staff", "Security staff", "Cooking staff", "Cleaning staff", "Private service staff",
    "Low-skill Laborers", "Waiters/barmen staff", "Secretaries", "Realty agents", "HR staff", "IT staff",
)  # fmt: skip
OCCUPATION_SHARES = (  # women, then men
    (16.0, 21.0, 16.0, 7.6, 0.9, 5.6, 7.0, 6.3, 1.6, 4.2, 3.2, 1.9, 0.4, 0.9, 1.0, 0.5, 0.4, 0.1),
    (40.0, 4.5, 8.5, 14.0, 22.5, 6.5, 0.6, 0.3, 6.4, 0.6, 0.5, 0.3, 2.4, 0.5, 0.1, 0.2, 0.1, 0.5),
)
OCCUPATION_RISK = (
    0.20, 0.10, -0.25, -0.20, 0.22, -0.25, -0.40, -0.15, 0.20, 0.15, 0.12, -0.15, 0.55, 0.25, -0.10, 0.0,
    -0.20, -0.30,
)  # fmt: skip
ORGANIZATIONS = {  # (weight for women, weight for men)
    "Business Entity Type 3": (21.0, 24.0), "Self-employed": (13.5, 12.0), "Other": (5.6, 5.0),
    "Medicine": (5.6, 0.8), "Business Entity Type 2": (3.2, 3.8), "Government": (3.8, 2.6),
    "School": (4.2, 0.7), "Trade: type 7": (3.0, 1.5), "Kindergarten": (3.4, 0.2), "Construction": (1.0, 4.6),
    "Business Entity Type 1": (1.9, 2.1), "Transport: type 4": (0.8, 3.8), "Trade: type 3": (1.3, 0.9),
    "Industry: type 9": (0.9, 1.4), "Industry: type 3": (0.8, 1.6), "Security": (0.6, 2.3),
    "Housing": (0.9, 1.0), "Industry: type 11": (0.9, 0.9), "Military": (0.3, 1.9), "Bank": (1.0, 0.5),
    "Agriculture": (0.7, 1.0), "Police": (0.5, 1.2), "Transport: type 2": (0.4, 1.3), "Postal": (1.0, 0.2),
    "Security Ministries": (0.4, 1.0), "Trade: type 2": (0.6, 0.7), "Restaurant": (0.8, 0.3),
    "Services": (0.5, 0.5), "University": (0.6, 0.3), "Industry: type 7": (0.4, 0.5),
    "Transport: type 3": (0.1, 0.9), "Industry: type 1": (0.3, 0.5), "Hotel": (0.4, 0.2),
    "Electricity": (0.2, 0.5), "Industry: type 4": (0.2, 0.4), "Trade: type 6": (0.3, 0.2),
    "Industry: type 5": (0.2, 0.3), "Insurance": (0.2, 0.2), "Telecom": (0.2, 0.2), "Emergency": (0.1, 0.3),
    "Industry: type 2": (0.1, 0.2), "Advertising": (0.15, 0.12), "Realtor": (0.16, 0.08),
    "Culture": (0.17, 0.06), "Industry: type 12": (0.12, 0.12), "Trade: type 1": (0.12, 0.10),
    "Mobile": (0.11, 0.09), "Legal Services": (0.11, 0.07), "Cleaning": (0.10, 0.06),
    "Transport: type 1": (0.02, 0.14), "Industry: type 6": (0.03, 0.05), "Industry: type 10": (0.03, 0.05),
    "Religion": (0.03, 0.03), "Industry: type 13": (0.02, 0.03), "Trade: type 4": (0.02, 0.02),
    "Trade: type 5": (0.02, 0.02), "Industry: type 8": (0.008, 0.01),
}  # fmt: skip
RISKY_ORGANIZATIONS = {
    "Construction": 0.18, "Transport: type 3": 0.35, "Restaurant": 0.20, "Security": 0.12,
    "Self-employed": 0.15, "Trade: type 3": 0.12, "Agriculture": 0.12, "School": -0.18, "Medicine": -0.15,
    "Police": -0.40, "Bank": -0.35, "Military": -0.35, "University": -0.30, "Government": -0.12,
    "Kindergarten": -0.08,
}  # fmt: skip
WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
WEEKDAY_SHARES = (0.165, 0.1754, 0.1688, 0.1645, 0.1636, 0.1100, 0.0527)
# Shares of the one main document among FLAG_DOCUMENT_2 .. 21 (index 0: none).
MAIN_DOCUMENT_SHARES = (0.006, 0.00004, 0.788, 0.00008, 0.0165, 0.096, 0.0002, 0.089, 0.0042)
EXTRA_DOCUMENT_SHARES = {
    10: 0.00002, 11: 0.0039, 12: 0.00001, 13: 0.0035, 14: 0.0029, 15: 0.0012, 16: 0.0099, 17: 0.0003,
    18: 0.0081, 19: 0.0006, 20: 0.0005, 21: 0.0003,
}  # fmt: skip

# Normalised facts about the applicant's building: the missing share and the quantile curve of the _AVG column. The
# _MODE and _MEDI columns of the same name are missing together with it and differ from it slightly.
BUILDING = {
    "APARTMENTS": (0.508, (0, 0.0025, 0.0103, 0.0577, 0.0876, 0.1485, 0.3299, 0.5400, 1)),
    "BASEMENTAREA": (0.585, (0, 0, 0, 0.0442, 0.0763, 0.1122, 0.2300, 0.4070, 1)),
    "YEARS_BEGINEXPLUATATION": (0.488, (0, 0.9503, 0.9697, 0.9767, 0.9816, 0.9866, 0.9960, 0.9985, 1)),
    "YEARS_BUILD": (0.665, (0, 0.34, 0.592, 0.6872, 0.7552, 0.8232, 0.9524, 0.9864, 1)),
    "COMMONAREA": (0.699, (0, 0, 0, 0.0078, 0.0211, 0.0515, 0.1583, 0.3600, 1)),
    "ELEVATORS": (0.533, (0, 0, 0, 0, 0, 0.12, 0.36, 0.64, 1)),
    "ENTRANCES": (0.503, (0, 0.0345, 0.0345, 0.069, 0.1379, 0.2069, 0.3103, 0.5517, 1)),
    "FLOORSMAX": (0.498, (0, 0, 0.0417, 0.1667, 0.1667, 0.3333, 0.4792, 0.6667, 1)),
    "FLOORSMIN": (0.678, (0, 0, 0.0417, 0.0833, 0.2083, 0.375, 0.5, 0.7083, 1)),
    "LANDAREA": (0.594, (0, 0, 0, 0.0187, 0.0481, 0.0856, 0.2009, 0.4140, 1)),
    "LIVINGAPARTMENTS": (0.684, (0, 0.0021, 0.0101, 0.0504, 0.0756, 0.1210, 0.2900, 0.4570, 1)),
    "LIVINGAREA": (0.502, (0, 0.0027, 0.0092, 0.0453, 0.0745, 0.1299, 0.3250, 0.5740, 1)),
    "NONLIVINGAPARTMENTS": (0.694, (0, 0, 0, 0, 0, 0.0039, 0.0270, 0.0990, 1)),
    "NONLIVINGAREA": (0.552, (0, 0, 0, 0, 0.0036, 0.0277, 0.1290, 0.3300, 1)),
}
TOTALAREA = (0.483, (0, 0.0022, 0.0075, 0.0412, 0.0688, 0.1276, 0.3070, 0.5400, 1))
FONDKAPREMONT = (0.684, {
    "reg oper account": 0.76, "reg oper spec account": 0.124, "not specified": 0.0585,
    "org spec account": 0.0578,
})  # fmt: skip
HOUSETYPE = (0.502, {"block of flats": 0.982, "specific housing": 0.010, "terraced house": 0.008})
WALLS = (0.508, {
    "Panel": 0.4365, "Stone, brick": 0.428, "Block": 0.0611, "Wooden": 0.0354, "Mixed": 0.0152,
    "Monolithic": 0.0118, "Others": 0.0107,
})  # fmt: skip
EMERGENCY = (0.474, {"No": 0.9856, "Yes": 0.0144})
