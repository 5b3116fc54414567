"""Key-frame schedules side by side: what each costs and how good and how steady its parse is."""
