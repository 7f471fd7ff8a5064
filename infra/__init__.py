"""What installs, deploys and checks the platform; never imported by it."""
