"""Tables of the built-in parts and commands, which are imported at their first use."""

COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "train and describe": {
        "train": ("seqlab.cli.train", "train a model"),
        "lr-find": ("seqlab.cli.lr_find", "find a learning rate by a range test"),
        "inspect-data": (
            "seqlab.cli.inspect_data",
            "find duplicates, wrong encodings, languages, pairs, labels",
        ),
        "recipes": ("seqlab.cli.recipes", "list the recipes: task, model, data, minutes, result"),
        "corpora": (
            "seqlab.cli.corpora:CORPORA_COMMAND",
            "list corpora, show their data cards, get them",
        ),
        "info": ("seqlab.cli.info:INFO", "describe a run"),
        "replay": ("seqlab.cli.replay:REPLAY", "find where a loss or gradient became infinite or NaN"),
    },
    "use a trained model": {
        "translate": ("seqlab.tasks.translation.commands.translate:TRANSLATE", "translate lines"),
        "transcribe": ("seqlab.tasks.transcription.commands:TRANSCRIBE", "transcribe recordings"),
        "label": ("seqlab.cli.task_commands:LABEL", "label lines, their words or recordings"),
        "predict": ("seqlab.tasks.prediction.commands:PREDICT", "predict numbers, classes or labels"),
        "generate": (
            "seqlab.tasks.language_modelling.commands.generate:GENERATE",
            "continue a text with a language model",
        ),
        "play": ("seqlab.tasks.control.commands:PLAY", "play episodes with an agent"),
        "score": ("seqlab.cli.task_commands:SCORE", "compute the log-probabilities of given lines or pairs"),
        "distill": (
            "seqlab.cli.distill:DISTILL",
            "translate a corpus as training data for another model",
        ),
    },
    "measure": {
        "evaluate": ("seqlab.cli.evaluate:EVALUATE", "score hypotheses against references"),
        "perplexity": (
            "seqlab.tasks.language_modelling.commands.perplexity:PERPLEXITY",
            "measure the perplexity of a text under language models",
        ),
        "calibration": (
            "seqlab.tasks.translation.commands.measure_calibration:CALIBRATION",
            "compare the probabilities of a translator with its accuracy",
        ),
        "exposure": ("seqlab.tasks.translation.commands.measure_exposure:EXPOSURE", "measure exposure bias"),
        "search-errors": (
            "seqlab.tasks.translation.commands.count_search_errors:SEARCH_ERRORS",
            "count search errors and model errors of a translator",
        ),
        "compare": ("seqlab.cli.compare:COMPARE", "compare runs on the same validation set"),
        "report": ("seqlab.cli.report:REPORT", "write a page about runs: curves, errors, attention, data, config"),
        "plot": ("seqlab.cli.plot:PLOT", "draw training curves, the attention of a translation, or a transcript"),
    },
    "find out what is wrong": {
        "diagnose": ("seqlab.cli.diagnose", "find out by experiments why a model does not learn"),
        "loss-surface": (
            "seqlab.cli.loss_surface:LOSS_SURFACE",
            "tell a minimum from a saddle, draw slices of the loss and the path between two runs",
        ),
    },
    "exchange with other programs": {
        "export": ("seqlab.cli.export", "write a run for another engine"),
        "import": ("seqlab.cli.import_arpa:IMPORT", "create a run from an ARPA file"),
    },
    "set up": {
        "completion": ("seqlab.cli.completion:COMPLETION", "print a script that completes commands in a shell"),
    },
}
"""Commands by the heading of the help under which they appear: heading -> name -> (`module:attribute`, summary)."""

BUILT_IN: dict[str, dict[str, tuple[str, str]]] = {
    "model": {
        "transformer": ("seqlab.models.transformer:TransformerConfig", "a Transformer encoder-decoder"),
        "rnn": ("seqlab.models.recurrent:RecurrentConfig", "a tanh RNN encoder-decoder with attention"),
        "lstm": ("seqlab.models.recurrent:RecurrentConfig", "an LSTM encoder-decoder with attention"),
        "gru": ("seqlab.models.recurrent:RecurrentConfig", "a GRU encoder-decoder with attention"),
        "transformer_ctc": (
            "seqlab.models.transformer_ctc:TransformerCtcConfig",
            "a non-autoregressive Transformer with CTC",
        ),
        "transformer_nat": (
            "seqlab.models.transformer_nat:TransformerNatConfig",
            "a non-autoregressive Transformer with length prediction",
        ),
        "transformer_cmlm": (
            "seqlab.models.transformer_nat:TransformerCmlmConfig",
            "a conditional masked language model (mask-predict)",
        ),
        "transformer_lm": (
            "seqlab.models.transformer_lm:TransformerLmConfig",
            "a Transformer language model (decoder-only)",
        ),
        "language_model": (
            "seqlab.models.language_model:EncoderLmConfig",
            "an encoder that reads forward, with the next token, or masked tokens",
        ),
        "ngram_lm": ("seqlab.models.ngram:NgramConfig", "an n-gram model with Kneser-Ney smoothing"),
        "labeler": ("seqlab.models.labeler:LabelerConfig", "an encoder with labels of words or lines"),
        "frequency_labeller": (
            "seqlab.models.frequency_labeller:FrequencyLabellerConfig",
            "the most frequent label of each word",
        ),
        "predictor": (
            "seqlab.models.predictor:EncoderPredictorConfig",
            "an encoder with numbers, classes or labels of rows",
        ),
        "cnn": ("seqlab.models.cnn:CnnConfig", "convolutions over images or sequences"),
        "gaussian_classifier": (
            "seqlab.models.gaussian_classifier:GaussianClassifierConfig",
            "a Gaussian for each class: discriminant analysis, naive Bayes",
        ),
        "table": ("seqlab.models.table:TableConfig", "a table of values for numbered states"),
        "recognizer": ("seqlab.models.recognizer:RecognizerConfig", "an encoder of recordings with CTC"),
        "recording_labeler": (
            "seqlab.models.recording_labeler:RecordingLabelerConfig",
            "an encoder with labels of recordings",
        ),
    },
    "encoder": {
        "rnn": ("seqlab.models.recurrent_encoder:RecurrentEncoderConfig", "tanh RNNs"),
        "lstm": ("seqlab.models.recurrent_encoder:RecurrentEncoderConfig", "LSTMs"),
        "gru": ("seqlab.models.recurrent_encoder:RecurrentEncoderConfig", "gated recurrent units"),
        "transformer": ("seqlab.models.self_attention_encoder:TransformerEncoderConfig", "self-attention"),
        "cnn": ("seqlab.models.convolution_encoder:CnnEncoderConfig", "convolutions of several widths"),
        "mlp": ("seqlab.models.dense_encoder:MlpEncoderConfig", "a multi-layer perceptron, for each position"),
        "linear": ("seqlab.models.dense_encoder:LinearEncoderConfig", "no hidden layers: a linear model"),
    },
    "objective": {
        "cross_entropy": ("seqlab.objectives.cross_entropy:CrossEntropyConfig", "cross entropy with teacher forcing"),
        "r_drop": (
            "seqlab.objectives.r_drop:RDropConfig",
            "cross entropy with R-Drop: consistency of two dropout masks",
        ),
        "scheduled_sampling": (
            "seqlab.objectives.scheduled_sampling:ScheduledSamplingConfig",
            "cross entropy with the model's own predictions as input",
        ),
        "ctc": ("seqlab.objectives.ctc:CtcConfig", "connectionist temporal classification"),
        "minimum_risk": (
            "seqlab.objectives.minimum_risk:MinimumRiskConfig",
            "expected reward over candidates, such as BLEU",
        ),
        "policy_gradient": (
            "seqlab.objectives.policy_gradient:PolicyGradientConfig",
            "expected reward of samples: REINFORCE, actor-critic, PPO",
        ),
        "parallel_cross_entropy": (
            "seqlab.objectives.parallel_cross_entropy:ParallelCrossEntropyConfig",
            "non-autoregressive cross entropy",
        ),
        "cmlm": ("seqlab.objectives.parallel_cross_entropy:CmlmConfig", "cross entropy of masked target tokens"),
        "squared_error": ("seqlab.objectives.prediction_losses:SquaredErrorConfig", "squared error of numbers"),
        "absolute_error": ("seqlab.objectives.prediction_losses:AbsoluteErrorConfig", "absolute error of numbers"),
        "huber": (
            "seqlab.objectives.prediction_losses:HuberConfig",
            "Huber loss: squared small and absolute large errors",
        ),
        "softmax": ("seqlab.objectives.prediction_losses:SoftmaxConfig", "softmax cross entropy over classes"),
        "sigmoid": ("seqlab.objectives.prediction_losses:SigmoidConfig", "binary cross entropy of each label"),
        "episode_policy_gradient": (
            "seqlab.tasks.control.episode_policy_gradient:EpisodePolicyGradientConfig",
            "REINFORCE, actor-critic and PPO in an environment (on-policy)",
        ),
        "q_learning": (
            "seqlab.tasks.control.values:QLearningConfig",
            "values of the best actions, with a table or a network (off-policy)",
        ),
        "sarsa": ("seqlab.tasks.control.values:SarsaConfig", "values of the exploring actions (on-policy)"),
        "td": ("seqlab.tasks.control.values:TdConfig", "TD(lambda): values of states under random actions (on-policy)"),
        "ddpg": ("seqlab.tasks.control.ddpg:DdpgConfig", "actor and critic for actions that are vectors (off-policy)"),
    },
    "optimizer": {
        "sgd": ("seqlab.optim.optimizers:SgdConfig", "stochastic gradient descent with momentum"),
        "adam": ("seqlab.optim.optimizers:AdamConfig", "Adam"),
        "adamw": ("seqlab.optim.optimizers:AdamWConfig", "Adam with decoupled weight decay"),
        "radam": ("seqlab.optim.optimizers:RAdamConfig", "rectified Adam"),
        "muon": ("seqlab.optim.muon:MuonConfig", "Muon for matrices, AdamW for the rest"),
        "adagrad": ("seqlab.optim.optimizers:AdagradConfig", "Adagrad"),
        "rmsprop": ("seqlab.optim.optimizers:RmspropConfig", "RMSProp"),
        "sam": ("seqlab.optim.sam:SamConfig", "sharpness-aware minimization with AdamW"),
        "schedule_free": ("seqlab.optim.schedule_free:ScheduleFreeConfig", "AdamW with averages instead of a schedule"),
    },
    "schedule": {
        "constant": ("seqlab.optim.schedules:ConstantScheduleConfig", "constant after the warmup"),
        "linear": ("seqlab.optim.schedules:LinearScheduleConfig", "linear decay from the peak"),
        "inverse_sqrt": (
            "seqlab.optim.schedules:InverseSqrtScheduleConfig",
            "decay with the inverse square root of the step",
        ),
        "cosine": ("seqlab.optim.schedules:CosineScheduleConfig", "cosine decay from the peak"),
        "exponential": ("seqlab.optim.schedules:ExponentialScheduleConfig", "exponential decay from the peak"),
        "one_cycle": ("seqlab.optim.schedules:OneCycleScheduleConfig", "one cycle: up to the peak and down again"),
        "plateau": ("seqlab.optim.schedules:PlateauScheduleConfig", "decrease when the validation loss stops falling"),
    },
    "search": {  # the first one that supports the model is the default
        "mask_predict": (
            "seqlab.search.mask_predict:MaskPredict",
            "mask-predict: iterative refinement of all positions",
        ),
        "ctc": ("seqlab.search.prefix_beam:CtcSearch", "CTC decoding: best path or prefix beam search"),
        "beam": ("seqlab.search.beam:BeamSearch", "autoregressive greedy or beam search"),
    },
    "task": {
        "translation": ("seqlab.tasks.translation.config:TranslationConfig", "pairs of lines"),
        "labelling": ("seqlab.tasks.labelling.config:LabellingConfig", "labels of lines or of their words"),
        "prediction": (
            "seqlab.tasks.prediction.config:PredictionConfig",
            "numbers, classes or labels from tables, images or series",
        ),
        "transcription": ("seqlab.tasks.transcription.config:TranscriptionConfig", "recordings and their transcripts"),
        "recording_labels": (
            "seqlab.tasks.recording_labels.config:RecordingLabelsConfig",
            "recordings with one label each",
        ),
        "language_modelling": (
            "seqlab.tasks.language_modelling.config:LanguageModellingConfig",
            "text for language models",
        ),
        "control": ("seqlab.tasks.control.config:ControlConfig", "episodes of an environment of gymnasium"),
    },
    "codec": {  # of columns that are not text
        "observation": ("seqlab.tasks.control.environment:ObservationCodec.load", "observations of an environment"),
        "action": ("seqlab.tasks.control.environment:ActionCodec.load", "actions in an environment"),
        "state_value": ("seqlab.tasks.control.environment:StateValueCodec.load", "values of states"),
        "table": ("seqlab.data.table_codec:load_table_codec", "columns of a table to vectors"),
        "array": ("seqlab.data.arrays:load_array_codec", "arrays and images"),
        "recording": ("seqlab.audio.codec:load_recording_codec", "recordings to log-mel frames"),
        "numbers": ("seqlab.data.targets:load_numbers_target", "numbers to predict"),
        "class": ("seqlab.data.targets:load_class_target", "one class of several"),
        "distribution": ("seqlab.data.targets:load_distribution_target", "probabilities of the classes, or one-hot"),
        "labels": ("seqlab.data.targets:load_labels_target", "any number of labels (multi-label)"),
    },
    "tokenizer": {
        "sentencepiece_bpe": (
            "seqlab.text.sentence_piece:SentencePieceBpeConfig",
            "subwords by byte-pair encoding",
        ),
        "sentencepiece_unigram": (
            "seqlab.text.sentence_piece:SentencePieceUnigramConfig",
            "subwords by a unigram model",
        ),
        "bpe": ("seqlab.text.byte_level:BpeConfig", "byte-pair encoding over bytes"),
        "characters": ("seqlab.text.vocabulary:CharactersConfig", "one id per character"),
        "words": ("seqlab.text.vocabulary:WordsConfig", "one id per word"),
        "saved": ("seqlab.text.trained:SavedConfig", "an existing tokenizer, for example of another run"),
        "same": ("seqlab.text.trained:SameConfig", "the same config as the source, for a target"),
    },
    "engine": {
        "torch": ("seqlab.tasks.translation.load_with_torch:torch_engine", "PyTorch"),
        "ctranslate2": ("seqlab.export.load_with_ctranslate2:ctranslate2_engine", "CTranslate2, for exported runs"),
    },
    "exporter": {
        "ctranslate2": ("seqlab.export.formats:CTranslate2Format", "a translation model for CTranslate2"),
        "arpa": ("seqlab.export.formats:ArpaFormat", "an n-gram model as an ARPA file"),
    },
    "metric": {
        "bleu": ("seqlab.evaluation.translation:bleu", "BLEU of sacrebleu"),
        "chrf": ("seqlab.evaluation.translation:chrf", "chrF2 of sacrebleu"),
        "ter": ("seqlab.evaluation.translation:ter", "translation edit rate of sacrebleu"),
        "wer": ("seqlab.evaluation.edits:wer", "word error rate"),
        "cer": ("seqlab.evaluation.edits:cer", "character error rate"),
        "exact_match": ("seqlab.evaluation.exact_match:exact_match", "share of lines that equal the reference"),
        "contains": ("seqlab.evaluation.exact_match:contains", "share of lines that contain the reference"),
        "repeated": ("seqlab.evaluation.words:repeated", "repeated words"),
        "missing": ("seqlab.evaluation.words:missing", "missing words"),
        "length_error": ("seqlab.evaluation.words:length_error", "difference in length"),
        "bleu_zh": ("seqlab.evaluation.translation:bleu_zh", "BLEU of Chinese"),
        "bleu_ja_mecab": ("seqlab.evaluation.translation:bleu_ja_mecab", "BLEU of Japanese, by MeCab"),
        "bleu_flores200": ("seqlab.evaluation.translation:bleu_flores200", "BLEU over the subwords of FLORES-200"),
        "bleu_char": ("seqlab.evaluation.translation:bleu_char", "BLEU over characters"),
        "accuracy": ("seqlab.evaluation.classification:accuracy", "share of correct labels"),
        "macro_f1": ("seqlab.evaluation.classification:macro_f1", "macro-averaged F1"),
        "entity_f1": ("seqlab.evaluation.entities:entity_f1", "F1 of entities, as conlleval and seqeval"),
        "entity_f1_strict": ("seqlab.evaluation.entities:entity_f1_strict", "F1 of entities that keep to their scheme"),
        "micro_f1": ("seqlab.evaluation.numbers:micro_f1", "micro-averaged F1"),
        "label_macro_f1": ("seqlab.evaluation.numbers:label_macro_f1", "macro-averaged F1 of label sets"),
        "mae": ("seqlab.evaluation.numbers:mae", "mean absolute error of numbers"),
        "rmse": ("seqlab.evaluation.numbers:rmse", "root mean squared error of numbers"),
        "log_loss": ("seqlab.evaluation.probabilities:log_loss", "mean negative log-probability of the correct class"),
        "label_log_loss": (
            "seqlab.evaluation.probabilities:label_log_loss",
            "mean binary cross entropy of labels",
        ),
        "r2": ("seqlab.evaluation.numbers:r2", "R²: explained share of the variance"),
    },
    "reward": {
        "bleu": ("seqlab.evaluation.rewards:bleu_reward", "BLEU+1 of a sentence"),
        "chrf": ("seqlab.evaluation.rewards:chrf_reward", "chrF2 of a sentence"),
        "wer": ("seqlab.evaluation.rewards:wer_reward", "1 minus the word error rate"),
        "cer": ("seqlab.evaluation.rewards:cer_reward", "1 minus the character error rate"),
        "edit_distance": ("seqlab.evaluation.rewards:edit_distance_reward", "negative number of edits of characters"),
        "exact_match": ("seqlab.evaluation.rewards:exact_match_reward", "1 if equal to the reference, else 0"),
    },
    "logger": {
        "csv": ("seqlab.training.loggers:CsvLogger", "CSV files: one row for each line of metrics.jsonl"),
        "tensorboard": ("seqlab.training.loggers:TensorboardLogger", "event files of TensorBoard"),
    },
    "command": {name: entry for commands in COMMANDS.values() for name, entry in commands.items()},
}
"""Built-in parts: kind -> name -> (`module:attribute`, summary). The first part of a kind is its default."""

CONFIG_BASES: dict[str, str] = {
    "model": "seqlab.models:ModelConfig",
    "encoder": "seqlab.models:EncoderConfig",
    "objective": "seqlab.objectives:ObjectiveConfig",
    "optimizer": "seqlab.optim:OptimizerConfig",
    "schedule": "seqlab.optim:ScheduleConfig",
    "task": "seqlab.data:DataConfig",
    "tokenizer": "seqlab.text:TokenizerConfig",
    "exporter": "seqlab.export.formats:ExportFormat",
}
"""Kind -> base class of its parts, for kinds of configs; parts of other kinds are functions or other classes."""
