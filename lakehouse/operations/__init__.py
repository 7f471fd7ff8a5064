"""What operators see of the platform: metrics and health. Light on purpose: functions import it."""
