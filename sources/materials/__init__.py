"""HDRIs and PBR texture sets from folders of the user: found, checked, kept with the plan, and used in scenes."""
