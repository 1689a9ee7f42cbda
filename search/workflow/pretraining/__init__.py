"""``search pretrain``: trains weights on other labelled images and registers them, as a study of one trial."""
