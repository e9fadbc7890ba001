"""The pages: functions from a `Visit` to an `Answer`, one module a matter."""
