"""The report page: PageData -> one HTML file that works offline and sends nothing."""
