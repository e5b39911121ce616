"""One module for each kind of server: its SERVERS are found by its being here."""
