/* The whole public API of Spry. */
#ifndef SPRY_SPRY_H
#define SPRY_SPRY_H

#include "spry/adapt.h"
#include "spry/allocator.h"
#include "spry/answer.h"
#include "spry/architecture.h"
#include "spry/bench.h"
#include "spry/compare.h"
#include "spry/dataset.h"
#include "spry/evaluate.h"
#include "spry/feed.h"
#include "spry/heads.h"
#include "spry/image.h"
#include "spry/inspect.h"
#include "spry/mixed.h"
#include "spry/model.h"
#include "spry/perplexity.h"
#include "spry/predict.h"
#include "spry/preprocess.h"
#include "spry/progress.h"
#include "spry/quantize.h"
#include "spry/random.h"
#include "spry/sensitivity.h"
#include "spry/session.h"
#include "spry/status.h"
#include "spry/tensor.h"
#include "spry/tensor_file.h"
#include "spry/tokenizer.h"
#include "spry/trace.h"
#include "spry/value.h"

#endif
