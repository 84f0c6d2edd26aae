"""The command line front end: parse, call a service, print, map to an exit code. No rule of the product lives here."""
