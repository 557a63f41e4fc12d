#include <memory>
#include <optional>

#include "binding/arguments.h"
#include "binding/call.h"
#include "binding/instance.h"
#include "head/head.h"

namespace alphamargin::binding {
namespace {

// A head and the backend it lives on.
struct SharedHead {
  SharedBackend backend;
  std::shared_ptr<Head> head;
  Head* operator->() const { return head.get(); }
};

struct Batch {
  RealMatrix embeddings;
  const std::int32_t* labels;  // nullptr when absent
};

Batch read_batch(const Napi::CallbackInfo& info, const SharedHead& head, bool labels_optional) {
  const Span<std::int32_t> labels = labels_optional ? read_optional_integers(info[1], "labels")
                                                    : read_integers(info[1], "labels");
  const Batch batch{read_matrix(info[0], "embeddings", head.head->dim(), head.backend),
                    labels.data};
  if (batch.embeddings.rows() == 0) {
    throw argument_error(info.Env(), "embeddings", "at least one row", "an empty batch");
  }
  if (labels.present) {
    require_length(info.Env(), "labels", labels.size, batch.embeddings.rows());
  }
  return batch;
}

HeadOutputs read_outputs(const Napi::CallbackInfo& info, Napi::Value value, const Batch& batch,
                         const SharedHead& head) {
  if (!value.IsObject()) {
    throw argument_error(info.Env(), "outputs", "an object", "something else");
  }
  const auto object = value.As<Napi::Object>();
  const std::size_t rows = batch.embeddings.rows();
  const Span<float> losses = read_floats(object.Get("losses"), "outputs.losses");
  RealOutput gradient;
  const Napi::Value wanted = object.Get("gradEmbeddings");
  if (!wanted.IsNull() && !wanted.IsUndefined()) {
    gradient = read_output(wanted, "outputs.gradEmbeddings", rows * batch.embeddings.columns(),
                           head.backend);
  }
  const Span<std::int32_t> support =
      read_integers(object.Get("supportSize"), "outputs.supportSize");
  const Span<std::uint8_t> active = read_bytes(object.Get("targetActive"), "outputs.targetActive");
  require_length(info.Env(), "outputs.losses", losses.size, rows);
  require_length(info.Env(), "outputs.supportSize", support.size, rows);
  require_length(info.Env(), "outputs.targetActive", active.size, rows);
  const Span<float> margins =
      read_optional_floats(object.Get("gradMargins"), "outputs.gradMargins");
  if (margins.present) require_length(info.Env(), "outputs.gradMargins", margins.size, rows);
  return {losses.data, gradient, support.data, active.data, margins.data};
}

Napi::Value make_stats(Napi::Env env, const HeadStats& stats) {
  const Napi::Object result = Napi::Object::New(env);
  result.Set("survivors", static_cast<double>(stats.survivors));
  result.Set("support", static_cast<double>(stats.support));
  result.Set("overflowRows", static_cast<double>(stats.overflow_rows));
  result.Set("zeroLossRows", static_cast<double>(stats.zero_loss_rows));
  result.Set("touchedPrototypes", static_cast<double>(stats.touched_prototypes));
  result.Set("scratchBytes", static_cast<double>(stats.scratch_bytes));
  result.Set("movedBytes", static_cast<double>(stats.moved_bytes));
  return result;
}

// (embeddings, labels, loss, optimizer, outputs)
Call read_step(const Napi::CallbackInfo& info, const SharedHead& head) {
  const Batch batch = read_batch(info, head, false);
  const Loss loss = read_loss(info[2], batch.embeddings.rows());
  const Optimizer optimizer = read_optimizer(info[3]);
  const HeadOutputs outputs = read_outputs(info, info[4], batch, head);
  auto stats = std::make_shared<HeadStats>();
  return {[=](const Cancellation& cancellation) {
            *stats =
                head->step(batch.embeddings, batch.labels, loss, optimizer, outputs, cancellation);
          },
          [stats](Napi::Env env) { return make_stats(env, *stats); }};
}

// (embeddings, labels, loss, outputs)
Call read_evaluate(const Napi::CallbackInfo& info, const SharedHead& head) {
  const Batch batch = read_batch(info, head, false);
  const Loss loss = read_loss(info[2], batch.embeddings.rows());
  const HeadOutputs outputs = read_outputs(info, info[3], batch, head);
  auto stats = std::make_shared<HeadStats>();
  return {[=](const Cancellation& cancellation) {
            *stats = head->evaluate(batch.embeddings, batch.labels, loss, outputs, cancellation);
          },
          [stats](Napi::Env env) { return make_stats(env, *stats); }};
}

// (embeddings, labels | null, loss)
Call read_head_posterior(const Napi::CallbackInfo& info, const SharedHead& head) {
  const Batch batch = read_batch(info, head, true);
  const Loss loss = read_loss(info[2], batch.embeddings.rows());
  auto rows = std::make_shared<std::optional<SparseRows>>();
  return {[=](const Cancellation& cancellation) {
            *rows = head->posterior(batch.embeddings, batch.labels, loss, cancellation);
          },
          [rows](Napi::Env env) { return make_csr(env, **rows); }};
}

// (queries, count, identities, cosines)
Call read_nearest(const Napi::CallbackInfo& info, const SharedHead& head) {
  const RealMatrix queries = read_matrix(info[0], "queries", head.head->dim(), head.backend);
  const std::size_t count = read_size(info[1], "k", 1);
  if (count > head->identities()) {
    throw argument_error(info.Env(), "k",
                         "at most the number of identities, " + std::to_string(head->identities()),
                         std::to_string(count));
  }
  const Span<std::int32_t> identities = read_integers(info[2], "identities");
  const Span<float> cosines = read_floats(info[3], "cosines");
  require_length(info.Env(), "identities", identities.size, queries.rows() * count);
  require_length(info.Env(), "cosines", cosines.size, queries.rows() * count);
  return {[=](const Cancellation& cancellation) {
    head->nearest(queries, count, identities.data, cosines.data, cancellation);
  }};
}

// (embeddings, labels, identities | null)
Call read_accumulate(const Napi::CallbackInfo& info, const SharedHead& head) {
  const Batch batch = read_batch(info, head, false);
  const Span<std::uint8_t> selected = read_optional_bytes(info[2], "identities");
  if (selected.present) {
    require_length(info.Env(), "identities", selected.size, head->identities());
  }
  return {[=](const Cancellation&) {
    head->accumulate_means(batch.embeddings, batch.labels, selected.data);
  }};
}

Call read_apply(const Napi::CallbackInfo&, const SharedHead& head) {
  auto count = std::make_shared<std::size_t>(0);
  return {[=](const Cancellation&) { *count = head->apply_means(); },
          [count](Napi::Env env) -> Napi::Value {
            return Napi::Number::New(env, static_cast<double>(*count));
          }};
}

FilterTier read_filter(const Napi::Value& value) {
  const std::string name = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  if (name == "auto") return FilterTier::kAuto;
  if (name == "simt") return FilterTier::kSimt;
  if (name == "mma") return FilterTier::kMma;
  if (name == "mma-int8") return FilterTier::kMmaInt8;
  if (name == "mma-split") return FilterTier::kMmaSplit;
  if (name == "wgmma") return FilterTier::kWgmma;
  if (name == "wgmma-int8") return FilterTier::kWgmmaInt8;
  if (name == "wgmma-split") return FilterTier::kWgmmaSplit;
  throw argument_error(value.Env(), "filter",
                       "'auto', 'simt', 'mma', 'mma-int8', 'mma-split', 'wgmma', 'wgmma-int8' or "
                       "'wgmma-split'",
                       name);
}

class HeadBinding : public Napi::ObjectWrap<HeadBinding> {
 public:
  using Parse = Call (*)(const Napi::CallbackInfo&, const SharedHead&);

  // (backend, identities, dim, seed, reference | null, scratchBudget, scratchOfRow, hasShadow,
  // subCentres, filter, fast)
  explicit HeadBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<HeadBinding>(info) {
    if (!info[0].IsExternal()) {
      throw Napi::TypeError::New(info.Env(), "heads are made by makeHead");
    }
    head_.backend = *info[0].As<Napi::External<SharedBackend>>().Data();
    const std::size_t identities = read_size(info[1], "identities", 1);
    const std::size_t dim = read_size(info[2], "dim", 1);
    const std::size_t seed = read_size(info[3], "seed");
    const std::size_t sub_centres = read_size(info[8], "subCentres", 1);
    if (identities > 0x7fffffff || dim > 0x7fffffff || sub_centres > 0x7fffffff / identities) {
      throw argument_error(info.Env(), "identities * subCentres and dim", "below 2^31", "more");
    }
    const Span<float> reference = read_optional_floats(info[4], "reference");
    if (reference.present) {
      require_length(info.Env(), "reference", reference.size, identities);
    }
    const std::size_t budget = read_size(info[5], "scratchBudget");
    const std::size_t budget_of_row = read_size(info[6], "scratchOfRow");
    const ShadowKind shadow = info[7].ToBoolean().Value() ? ShadowKind::kBytes : ShadowKind::kNone;
    const FilterTier filter = read_filter(info[9]);
    const bool fast = info[10].ToBoolean().Value();
    try {
      head_.head = head_.backend->make_head(HeadSettings{identities,
                                                         dim,
                                                         seed,
                                                         reference.data,
                                                         {budget, budget_of_row},
                                                         shadow,
                                                         sub_centres,
                                                         filter,
                                                         fast});
    } catch (...) {
      throw current_error(info.Env());
    }
    report_memory(info.Env());
  }

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Head",
                       {InstanceMethod<&HeadBinding::later<read_step>>("step"),
                        InstanceMethod<&HeadBinding::now<read_step>>("stepSync"),
                        InstanceMethod<&HeadBinding::later<read_evaluate>>("evaluate"),
                        InstanceMethod<&HeadBinding::now<read_evaluate>>("evaluateSync"),
                        InstanceMethod<&HeadBinding::later<read_head_posterior>>("posterior"),
                        InstanceMethod<&HeadBinding::now<read_head_posterior>>("posteriorSync"),
                        InstanceMethod<&HeadBinding::later<read_nearest>>("nearest"),
                        InstanceMethod<&HeadBinding::now<read_nearest>>("nearestSync"),
                        InstanceMethod<&HeadBinding::later<read_accumulate>>("accumulateMeans"),
                        InstanceMethod<&HeadBinding::later<read_apply>>("applyMeans"),
                        InstanceMethod<&HeadBinding::discard_means>("discardMeans"),
                        InstanceMethod<&HeadBinding::read_rows>("readRows"),
                        InstanceMethod<&HeadBinding::write_rows>("writeRows"),
                        InstanceMethod<&HeadBinding::set_prototypes>("setPrototypes"),
                        InstanceMethod<&HeadBinding::has_state>("hasState"),
                        InstanceMethod<&HeadBinding::memory>("memory"),
                        InstanceMethod<&HeadBinding::dispose>("dispose")});
  }

 private:
  template <Parse parse>
  Napi::Value later(const Napi::CallbackInfo& info) {
    return run_later(info, [this](const Napi::CallbackInfo& i) { return parse(i, head_); });
  }
  template <Parse parse>
  Napi::Value now(const Napi::CallbackInfo& info) {
    return run_now(info, [this](const Napi::CallbackInfo& i) { return parse(i, head_); });
  }

  Napi::Value discard_means(const Napi::CallbackInfo& info) {
    return run_now(info, [this](const Napi::CallbackInfo&) {
      return Call{[this](const Cancellation&) { head_->discard_means(); }};
    });
  }

  struct Rows {
    StateArray array;
    std::size_t first;
    std::size_t count;
    float* values;
  };

  // (state, first, rows)
  Rows read_row_range(const Napi::CallbackInfo& info) const {
    const StateArray array = read_state_array(info[0]);
    const std::size_t first = read_size(info[1], "first");
    const Span<float> rows = read_floats(info[2], "rows");
    const std::size_t width = array == StateArray::kAccumulator ? 1 : head_->dim();
    const std::size_t count = rows.size / width;
    if (rows.size % width != 0 || first > head_->rows() || count > head_->rows() - first) {
      throw argument_error(
          info.Env(), "rows", "whole rows within the head",
          std::to_string(rows.size) + " elements from row " + std::to_string(first));
    }
    return {array, first, count, rows.data};
  }

  Napi::Value read_rows(const Napi::CallbackInfo& info) {
    return run_now(info, [this](const Napi::CallbackInfo& i) {
      const Rows rows = read_row_range(i);
      if (!head_->has_state(rows.array)) {
        throw argument_error(i.Env(), "state", "an array the head has", "one it has not");
      }
      return Call{[this, rows](const Cancellation&) {
        head_->read_rows(rows.array, rows.first, rows.count, rows.values);
      }};
    });
  }

  Napi::Value write_rows(const Napi::CallbackInfo& info) {
    return run_now(info, [this](const Napi::CallbackInfo& i) {
      const Rows rows = read_row_range(i);
      return Call{[this, rows](const Cancellation&) {
        head_->write_rows(rows.array, rows.first, rows.count, rows.values);
      }};
    });
  }

  // (identities | null, rows)
  Napi::Value set_prototypes(const Napi::CallbackInfo& info) {
    return run_now(info, [this](const Napi::CallbackInfo& i) {
      const Span<std::int32_t> identities = read_optional_integers(i[0], "identities");
      const Span<float> rows = read_floats(i[1], "prototypes");
      const std::size_t count = identities.present ? identities.size : head_->rows();
      require_length(i.Env(), "prototypes", rows.size, count * head_->dim());
      return Call{[this, identities, rows, count](const Cancellation&) {
        if (count > 0) head_->set_prototypes(identities.data, count, rows.data);
      }};
    });
  }

  Napi::Value has_state(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), head_->has_state(read_state_array(info[0])));
  }

  Napi::Value memory(const Napi::CallbackInfo& info) {
    report_memory(info.Env());
    const Head::Memory memory = head_->memory();
    const Napi::Object result = Napi::Object::New(info.Env());
    result.Set("prototypes", static_cast<double>(memory.prototypes));
    result.Set("optimizer", static_cast<double>(memory.optimizer));
    result.Set("scratch", static_cast<double>(memory.scratch_peak));
    return result;
  }

  Napi::Value dispose(const Napi::CallbackInfo& info) {
    head_->dispose();
    report_memory(info.Env());
    return info.Env().Undefined();
  }

  // Tells V8 what the small wrapper holds, so that garbage collection weighs it rightly.
  void report_memory(Napi::Env env) {
    const Head::Memory memory = head_->memory();
    const auto held = static_cast<std::int64_t>(memory.prototypes + memory.optimizer);
    Napi::MemoryManagement::AdjustExternalMemory(env, held - reported_);
    reported_ = held;
  }

  void Finalize(Napi::BasicEnv env) override {
    Napi::MemoryManagement::AdjustExternalMemory(env, -reported_);
  }

  SharedHead head_;
  std::int64_t reported_ = 0;
};

}  // namespace

void define_head(Napi::Env env) {
  env.GetInstanceData<Instance>()->head = Napi::Persistent(HeadBinding::define(env));
}

// makeHead(identities, dim, seed, reference | null, scratchBudget, scratchOfRow, hasShadow,
// subCentres, filter, fast)
void export_head(Napi::Env env, Napi::Object target, const SharedBackend& backend) {
  target.Set("makeHead",
             Napi::Function::New(
                 env,
                 [backend](const Napi::CallbackInfo& info) -> Napi::Value {
                   SharedBackend shared = backend;
                   return info.Env().GetInstanceData<Instance>()->head.New(
                       {Napi::External<SharedBackend>::New(info.Env(), &shared), info[0], info[1],
                        info[2], info[3], info[4], info[5], info[6], info[7], info[8], info[9]});
                 },
                 "makeHead"));
}

}  // namespace alphamargin::binding
