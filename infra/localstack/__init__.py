"""LocalStack, the stand-in for AWS in tests."""
