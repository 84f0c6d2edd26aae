"""Checks whether engines really serve: health, answers, metrics, diagnoses, alerts. Sends requests to engines; does not
change them."""
