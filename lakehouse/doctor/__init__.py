"""`lakehouse doctor`: what may be wrong with an installation, looked at piece by piece."""
