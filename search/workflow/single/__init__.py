"""``search single``: one network instead of the ensemble of an export, with its loss in score and its gain in speed."""
