extension CheckpointSession {
  /// Generates with the weights as they are now, on the memory of this session: `limits` are at
  /// most those it was made for.
  package consuming func generator(_ limits: GenerationLimits) -> Generator {
    Generator(pager: step.pager, model: step.model, options: step.options, limits: limits)
  }
}
