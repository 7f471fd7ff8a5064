"""Silver: parse, rules, quarantine, versions. A function of Bronze."""
