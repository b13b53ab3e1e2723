#include "cli/checkpointer.h"

#include "serialize/atomic_file.h"
#include "serialize/checkpoint_file.h"

namespace nacre {

Status Checkpointer::on_checkpoint(const Checkpoint& checkpoint, bool best) {
  const std::string name = RunFolder::checkpoint_name(checkpoint.state.step);
  // A file of that name is what a run that was killed here has left.
  NACRE_RETURN_IF_ERROR(write_checkpoint(folder_.checkpoints() + "/" + name, checkpoint, /*overwrite=*/true));
  // `best` before `latest`: who resumes from `latest` takes its word for which step was the best, so that
  // link must be there already.
  if (best) NACRE_RETURN_IF_ERROR(replace_symlink(folder_.best(), name));
  NACRE_RETURN_IF_ERROR(replace_symlink(folder_.latest(), name));
  return folder_.prune(keep_);
}

}  // namespace nacre
