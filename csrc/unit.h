/* unit.h: the body of each isa_*.c: the kernels for float and double, and the table FKD_TABLE of pointers to them. */
#define FKD_BITS 32
#include "kernels.inc.h"
#undef FKD_BITS
#define FKD_BITS 64
#include "kernels.inc.h"

#define FKD_FILL(s)                                                                                                                     \
  {fkd_softmax##s, fkd_distill_loss##s, fkd_mlp_scratch##s, fkd_mlp_gradient##s, fkd_mlp_epoch##s, fkd_predict_packed##s, mlp_pack##s,  \
   fkd_predict_scratch##s, fkd_predict##s, fkd_network_scratch##s, net_gradient##s, net_epoch##s, fkd_network_packed##s,                \
   fkd_network_pack##s, fkd_network_predict_scratch##s, fkd_network_predict##s, fkd_network_state##s, fkd_network_push##s,              \
   fkd_finite##s, fkd_order##s, fkd_sq_distances##s, fkd_rough_distances##s, fkd_combine##s, fkd_exits_scratch##s,                      \
   fkd_exits_gradient##s, fkd_exits_epoch##s, fkd_rop_scratch##s, fkd_rop##s, fkd_gradient_match##s,                                \
   fkd_features_scratch##s, fkd_feature_match##s, fkd_ridge_scratch##s, fkd_ridge##s}
extern const fkd_table FKD_TABLE;
const fkd_table FKD_TABLE = {FKD_ABI, FKD_NAME, FKD_FILL(_f32), FKD_FILL(_f64), fkd_kl};
