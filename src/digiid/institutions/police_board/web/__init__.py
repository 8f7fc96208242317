"""The board's two sites: the applicant's pages and the officers' desk."""
