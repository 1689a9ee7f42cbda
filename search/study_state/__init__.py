"""How a study stands, read from the database: budget, costs, finalists, confirmation."""
