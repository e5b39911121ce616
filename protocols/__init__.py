"""Wire protocols, one module or package each; the servers built on them are in `protocols.servers`."""
