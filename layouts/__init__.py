"""The layouts we ship, as YAML files beside this one; no code belongs here."""
