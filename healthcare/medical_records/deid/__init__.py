"""De-identification: the 18 identifiers of HIPAA found in English and Chinese notes, and replaced."""
