/// Everything a run is told, with the defaults. The YAML file, the overrides and the resolved
/// `config.yaml` of a run all have exactly these keys.
///
/// `model`, `data`, `training` and `seed` decide what is computed and are part of a run's identity;
/// `memory`, `storage`, `checkpoint`, `evaluation` and `compute` decide only where and when, and
/// may change between a stop and a resume (`storage.block_bytes` excepted: it fixes the order of
/// sums).
// Names are the keys of the file, Hugging Face's where it has one.
// swift-format-ignore: AlwaysUseLowerCamelCase
package struct RunConfig: Codable, Equatable, Sendable {
  package var seed = 1
  package var model = ModelSection()
  package var data = DataSection()
  package var training = TrainingSection()
  package var memory = MemorySection()
  package var storage = StorageSection()
  package var checkpoint = CheckpointSection()
  package var evaluation = EvaluationSection()
  package var compute = ComputeSection()

  package init() {}

  package struct ModelSection: Codable, Equatable, Sendable {
    /// `zcode`, whose shape is what the keys from `d_model` to `router_aux_loss_coef` say; or a
    /// published family, whose shape is in the `config.json` of `path`.
    package var family = "zcode"
    /// The folder with `config.json` and the tokenizer of a published family; empty: `model` in the
    /// run directory, where `pagoda import` puts them.
    package var path = ""
    package var d_model = 256
    package var encoder_layers = 4
    package var decoder_layers = 4
    package var num_attention_heads = 4
    package var ffn_dim = 1024
    package var num_experts = 8
    /// Every so many-th layer has experts instead of one FFN: 2 is every other.
    package var sparse_step = 2
    package var capacity_factor = 1.0
    package var eval_capacity_factor = 2.0
    package var min_capacity = 4
    /// Which tokens an expert keeps when more chose it than it has room for: `random`, the same chance
    /// for every position; `first` in the micro-batch; `priority`, those that are surest of their choice.
    package var token_selection = "random"
    /// Experts that a token chooses: 1, multiplied by its probability, or 2, by their shares of the
    /// probabilities of those that have room.
    package var num_experts_per_tok = 1
    /// The second expert in training: `all`, the next likeliest; `sampling`, one drawn by the
    /// probabilities; `random`, the next likeliest with twice its probability.
    package var second_expert_policy = "all"
    /// What the gates of the encoder decide by: each `token`; the mean of a `sentence`; the
    /// `target_language` or the `language_pair` of a sentence's task.
    package var encoder_gate = "token"
    /// The same of the decoder, which does not know its sentence.
    package var decoder_gate = "token"
    package var router_jitter_noise = 0.0
    package var router_aux_loss_coef = 0.01
    /// What a balance loss of a published family is of: `hf`, as transformers pools layers;
    /// `per_layer`, each layer by itself; `none`: there are no router losses; `automatic`: as
    /// transformers trains the model, `hf` for Switch and where `output_router_logits` is true in
    /// `config.json`, else `none`.
    package var aux = "automatic"
    /// What the square of a published family's router's log sum exp is multiplied by; `automatic`: as
    /// `config.json` says.
    package var router_z_loss_coef = "automatic"
    /// The experts of each layer that has any, in forward order, that are still there, such as `0-3,7`;
    /// none: all of all layers. `pagoda expert prune` and `extract` write it.
    package var kept_experts: [String] = []
    /// What the gates' probabilities are of then: the `kept` experts alone, or `all` there were.
    package var kept_probabilities = "kept"
    /// What the experts compute with: `bf16` reads the upper half of the fp32 master, `fp32` all of
    /// it.
    package var weights = "bf16"

    /// The keys that mean nothing of zcode.
    static let publishedKeys = ["path", "aux", "router_z_loss_coef"]
    /// Those that mean nothing of a published family.
    static let zcodeKeys = [
      "d_model", "encoder_layers", "decoder_layers", "num_attention_heads", "ffn_dim",
      "num_experts", "sparse_step", "capacity_factor", "eval_capacity_factor", "min_capacity",
      "token_selection", "num_experts_per_tok", "second_expert_policy", "encoder_gate",
      "decoder_gate", "router_jitter_noise", "router_aux_loss_coef",
    ]
  }

  package struct DataSection: Codable, Equatable, Sendable {
    /// The directory that `pagoda corpus prepare` wrote; of a published model a file of pairs (JSONL
    /// or TSV), of text (a document a line) or of conversations (JSONL).
    package var corpus = ""
    /// Of a file: `pairs-jsonl`, `pairs-tsv`, `text` (a document a line), `text-jsonl` or `chat-jsonl`;
    /// `automatic`: as its name and its first lines say.
    package var format = "automatic"
    /// Languages of pairs that do not say their own, such as de or deu_Latn.
    package var source_language = ""
    package var target_language = ""
    /// What is put before every source of a pair, such as "translate English to German: ".
    package var prefix = ""
    /// How conversations are written: `chatml`, `mistral` or `tulu`; `automatic`: by the tokens of
    /// the vocabulary.
    package var chat_template = "automatic"
    /// Share of a file's examples that are held out for evaluation; 0: none, and no evaluation.
    package var held_out = 0.01
    /// `english`: to and from English; `all`: any pair of languages.
    package var pairs = "english"
    /// Tasks of a step, drawn anew for each: few, and the experts of gates by task are few as well. 0: as
    /// many as its sequences draw.
    package var tasks_per_step = 0
    /// What the run is for: `de-en`, `*-en` from any language, `en-*` into any, `de` for denoising; none:
    /// all that `pairs` says. Others are neither learned nor translated.
    package var tasks: [String] = []
    package var temperature = 5.0
    /// Share of the sequences that are denoised instead of translated.
    package var denoise = 0.2
    package var mask_rate = 0.3
    package var deletion_rate = 0.05
    package var max_sequence_tokens = 96

    /// The keys that are of prepared corpora alone.
    static let preparedKeys = [
      "pairs", "tasks_per_step", "tasks", "temperature", "denoise", "mask_rate", "deletion_rate",
    ]
    /// Those that are of files alone.
    static let fileKeys = [
      "format", "source_language", "target_language", "prefix", "chat_template", "held_out",
    ]
  }

  package struct TrainingSection: Codable, Equatable, Sendable {
    /// The horizon of the schedule and the default number of steps.
    package var max_steps = 100
    /// At most so many source tokens, and so many target tokens, in a micro-batch.
    package var micro_batch_tokens = 1024
    /// Micro-batches in a step; all of them cross a layer while its experts are resident.
    package var gradient_accumulation_steps = 4
    /// `adamw`; or `adafactor`, whose second moments are means of rows and of columns, and which has no
    /// first ones: of an expert's parameter 4 bytes are on the disk instead of 12.
    package var optim = "adamw"
    /// Of Adafactor: whether a step is as large as the parameters are, so that `learning_rate` is relative
    /// to their root mean square.
    package var adafactor_scale_parameter = true
    package var learning_rate = 1e-3
    package var lr_scheduler_type = "inverse_sqrt"
    package var warmup_steps = 20
    package var min_lr_ratio = 0.0
    package var adam_beta1 = 0.9
    package var adam_beta2 = 0.98
    package var adam_epsilon = 1e-8
    package var weight_decay = 0.01
    package var label_smoothing_factor = 0.0
    package var max_grad_norm = 1.0
    /// `block`: each block's gradient is clipped to `max_grad_norm` by itself; `global`: all together,
    /// at the price of a second backward sweep; `none`: not at all.
    package var clip = "block"
    /// What the boundary activations are kept as from the forward to the backward sweep: `fp32`, or
    /// `bf16`, which rounds what passes from one sublayer to the next and takes half the room.
    package var boundaries = "fp32"
    /// What happens to an expert without tokens: `skip` leaves it alone and on the disk, `decay`
    /// updates it with a gradient of zero; `automatic`: as transformers does for the family (`decay`
    /// for OLMoE and NLLB-MoE, `skip` for the others).
    package var untouched = "automatic"
    /// How the two moments of an expert's parameters are kept: `fp32`; `bf16`, 2 bytes each; `int8`, a
    /// byte each and a scale for 256 of them. The dense part has fp32.
    package var states = "fp32"
    /// How the weights of experts are kept that the optimizer adds to: `fp32`, or `bf16`, whose updates
    /// are rounded stochastically.
    package var master = "fp32"
  }

  package struct MemorySection: Codable, Equatable, Sendable {
    /// The ceiling on the whole process.
    package var budget = "2GiB"
    /// Keeps every block in memory; the disk is written at commits only.
    package var resident = false
    /// Whether boundary activations wait for the backward sweep on the disk: `automatic`, when the run
    /// does not fit otherwise and is not `resident`; `never`; `always`.
    package var spill = "automatic"
    /// What the backward sweep does about activations inside a layer: `always` computes them again
    /// from the layer's boundaries; `never` keeps those of all layers in memory; `automatic` keeps those
    /// of as many layers as the budget has room for, `spill` the others, too, on the drives.
    package var recompute = "automatic"
    /// Memory for gradients of experts that are updated not at once but in the next forward sweep, such as
    /// `64MiB`; `automatic`: what paging can spare, where drives have no time to spare, and no more than
    /// three tenths of a step's; `0`: none. Of no effect where all blocks stay in memory.
    package var held_gradients = "automatic"
    /// On machines with several memory nodes: `local` gives each node frames and workers of its
    /// own, `interleave` spreads every frame over the nodes, `off` leaves it to the kernel.
    package var numa = "local"
    /// The dense part: `resident` in memory with its moments, 16 bytes a parameter, or 8 by Adafactor;
    /// `paged` layer by layer, only what belongs to no layer, as embeddings, stays, 8 bytes a parameter;
    /// `automatic`: paged only when the budget is too small otherwise.
    package var dense = "automatic"
  }

  package struct StorageSection: Codable, Equatable, Sendable {
    /// Directories, one per drive; empty: `store` in the run directory.
    package var paths: [String] = []
    /// An expert whose weights and moments are larger, at 12 bytes a parameter whatever their precision,
    /// is cut along its hidden dimension.
    package var block_bytes = "64MiB"
    package var engine = "automatic"
    /// How an io_uring is set up: `deferred`, `cooperative`, `polled` (a kernel thread submits) or
    /// `plain`; `automatic`: the best that the kernel has.
    package var ring = "automatic"
    /// Whether a thread of its own begins and ends io_uring requests while the others compute, or
    /// the training thread does between two experts.
    package var io_thread = true
    /// Requests under way at once on each path; 0: what its drive was measured to do best.
    package var queue_depth = 0
    /// Largest request; `automatic`: what the drive was measured to do best.
    package var request_bytes = "automatic"
    /// Reads and writes of a path together (`interleaved`) or in turns (`alternated`);
    /// `automatic`: what the drive was measured to do better.
    package var mixing = "automatic"
  }

  package struct CheckpointSection: Codable, Equatable, Sendable {
    /// Steps between commits. The last step and a signal commit too.
    package var every = 50
    /// Commits, too, when the last one is so many seconds ago; 0: by steps only.
    package var seconds = 0
    /// Generations that can be gone back to, the last one included. Records that did not change
    /// are shared; the disk has room for the worst case, in which all of them did.
    package var keep = 1
  }

  package struct EvaluationSection: Codable, Equatable, Sendable {
    /// Steps between evaluations of the held-out loss; 0: only at the end.
    package var every = 50
    /// Held-out target tokens for each kind of task.
    package var max_tokens = 4096
    /// Held-out sentences to translate at the end, spread over the languages; 0: none.
    package var translations = 0
  }

  package struct ComputeSection: Codable, Equatable, Sendable {
    /// Worker threads; 0: one for each core this process may use.
    package var threads = 0
  }
}
