"""The functions on AWS Lambda: their package, what each may do, and what Chalice deploys."""
