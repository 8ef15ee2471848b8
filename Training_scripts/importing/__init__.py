"""Other people's files, checked and brought into a data folder or the warehouse; nothing is dropped in silence."""
