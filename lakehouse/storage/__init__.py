"""Object stores: a folder, or anything that speaks S3."""
