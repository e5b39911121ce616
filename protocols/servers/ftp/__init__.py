"""The server kind `ftp`: folders by FTP."""
