"""History of the Moscow Exchange that can be trusted, from the exchange to a chart."""
