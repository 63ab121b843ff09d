"""A Trainer that measures all validation images."""

from transformers import Trainer


class WholeValidationTrainer(Trainer):
    """A Trainer whose `dataloader_drop_last` affects training images alone."""

    def get_eval_dataloader(self, eval_dataset=None):
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = drop_last
