"""The HTTP service: uploads, live streams over WebSockets, pulled sources, health, and the page."""
