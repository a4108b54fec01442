"""One story per verb; the only room that joins the others."""
