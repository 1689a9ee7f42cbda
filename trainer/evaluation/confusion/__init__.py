"""Which classes are taken for which: the confusion matrix, an order of the classes, groups of confusable classes."""
