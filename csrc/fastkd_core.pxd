# The declarations of fastkd.h for Cython: `cimport fastkd_core` with fastkd.get_include() on the include path.
from libc.stdint cimport int32_t, int64_t, uint16_t

cdef extern from "fastkd.h" nogil:
    enum:
        FKD_ABI
        FKD_MAX_LAYERS
        FKD_ROWS
        FKD_NO_TEACHER
        FKD_LOGITS
        FKD_PROBABILITIES
        FKD_IDENTITY
        FKD_RELU
        FKD_TANH
        FKD_GELU
        FKD_CLASSES
        FKD_SQUARED
        FKD_QUANTILE
        FKD_DENSE
        FKD_LSTM
        FKD_CNN
        FKD_LAST
        FKD_MEAN
        FKD_MAX
        FKD_ROWWISE
        FKD_GLOBAL
        FKD_MSE
        FKD_SGD
        FKD_ADAM

    ctypedef struct fkd_distill:
        double temperature
        double kd_weight
        double label_smoothing
        int teacher

    ctypedef struct fkd_mlp:
        int layers
        int activation
        int64_t sizes[17]

    ctypedef struct fkd_network:
        int kind
        int layers
        int pooling
        int64_t steps
        int64_t kernel
        int64_t widths[17]
        fkd_mlp head

    ctypedef struct fkd_optimizer:
        int kind
        double learning_rate
        double momentum
        double beta1
        double beta2
        double epsilon

    ctypedef struct fkd_exits:
        int shallow_teaches
        double feature_weight
        double weights[16]

    ctypedef struct fkd_kernel:
        int depth
        double gamma
        double weight_variance
        double bias_variance

    ctypedef struct fkd_targets_f32:
        int kind
        fkd_distill how
        double quantile
        const int32_t *labels
        const float *teacher
        const float *values
        const float *weights

    ctypedef struct fkd_targets_f64:
        int kind
        fkd_distill how
        double quantile
        const int32_t *labels
        const double *teacher
        const double *values
        const double *weights

    ctypedef struct fkd_kernels_f32:
        int64_t (*softmax)(const float *, int64_t, int64_t, double, int, float *) noexcept nogil
        int64_t (*distill_loss)(const float *, const float *, const int32_t *, const float *, int64_t, int64_t, const fkd_distill *, double,
                                double *, float *, float *) noexcept nogil
        int64_t (*mlp_scratch)(const fkd_mlp *, int64_t) noexcept nogil
        double (*mlp_gradient)(const fkd_mlp *, const float *, const float *, const fkd_targets_f32 *, int64_t, double, float *, float *) noexcept nogil
        double (*mlp_epoch)(const fkd_mlp *, const float *, const fkd_targets_f32 *, const int64_t *, int64_t, int64_t, double,
                            const fkd_optimizer *, float *, float *, float *, int64_t *, float *) noexcept nogil
        int64_t (*packed_size)(const fkd_mlp *) noexcept nogil
        void (*pack)(const fkd_mlp *, const float *, float *) noexcept nogil
        int64_t (*predict_scratch)(const fkd_mlp *, int64_t) noexcept nogil
        int64_t (*predict)(const fkd_mlp *, const float *, const float *, int64_t, int, float *, float *) noexcept nogil
        int64_t (*network_scratch)(const fkd_network *, int64_t) noexcept nogil
        double (*network_gradient)(const fkd_network *, const float *, const float *, const fkd_targets_f32 *, int64_t, double, float *,
                                   float *) noexcept nogil
        double (*network_epoch)(const fkd_network *, const float *, const fkd_targets_f32 *, const int64_t *, int64_t, int64_t, double,
                                const fkd_optimizer *, float *, float *, float *, int64_t *, float *) noexcept nogil
        int64_t (*network_packed)(const fkd_network *) noexcept nogil
        void (*network_pack)(const fkd_network *, const float *, const float *, const float *, float *) noexcept nogil
        int64_t (*network_predict_scratch)(const fkd_network *, int64_t) noexcept nogil
        int64_t (*network_predict)(const fkd_network *, const float *, const float *, int64_t, int, float *, float *) noexcept nogil
        int64_t (*network_state)(const fkd_network *) noexcept nogil
        int (*network_push)(const fkd_network *, const float *, float *, const float *, int, float *, float *) noexcept nogil
        int (*finite)(const float *, int64_t) noexcept nogil
        void (*order)(const float **, int64_t, int64_t, int64_t, const uint16_t *, int64_t, int64_t, int64_t, int64_t, float *, float *) noexcept nogil
        void (*sq_distances)(const float **, int64_t, int64_t, int64_t, int64_t, double *) noexcept nogil
        void (*rough_distances)(const float **, int64_t, int64_t, int64_t, int64_t, double *) noexcept nogil
        void (*combine)(const float **, int64_t, const double *, int64_t, int64_t, float *) noexcept nogil
        int64_t (*exits_scratch)(const fkd_mlp *, const fkd_exits *, int64_t) noexcept nogil
        double (*exits_gradient)(const fkd_mlp *, const fkd_exits *, const float *, const float *, const fkd_targets_f32 *, int64_t, double,
                                 float *, float *) noexcept nogil
        double (*exits_epoch)(const fkd_mlp *, const fkd_exits *, const float *, const fkd_targets_f32 *, const int64_t *, int64_t, int64_t,
                              double, const fkd_optimizer *, float *, float *, float *, int64_t *, float *) noexcept nogil
        int64_t (*rop_scratch)(const fkd_mlp *, int64_t) noexcept nogil
        double (*rop)(const fkd_mlp *, const float *, const float *, const float *, const fkd_targets_f32 *, int64_t, float *, float *, float *,
                      float *, float *) noexcept nogil
        double (*gradient_match)(const fkd_mlp *, const float *, const float *, const float *, const fkd_targets_f32 *, const int64_t *, int64_t,
                                 int, float *, float *, float *) noexcept nogil
        int64_t (*features_scratch)(const fkd_mlp *) noexcept nogil
        double (*feature_match)(const fkd_mlp *, const float *, const float *, const int64_t *, const float *, const int64_t *, int64_t, int, float *,
                                float *) noexcept nogil
        int64_t (*ridge_scratch)(const fkd_kernel *, int64_t, int64_t, int64_t) noexcept nogil
        double (*ridge)(const fkd_kernel *, const float *, int64_t, int64_t, const float *, int64_t, const float *, const float *, int64_t, float *, float *,
                        float *) noexcept nogil

    ctypedef struct fkd_kernels_f64:
        int64_t (*softmax)(const double *, int64_t, int64_t, double, int, double *) noexcept nogil
        int64_t (*distill_loss)(const double *, const double *, const int32_t *, const double *, int64_t, int64_t, const fkd_distill *, double,
                                double *, double *, double *) noexcept nogil
        int64_t (*mlp_scratch)(const fkd_mlp *, int64_t) noexcept nogil
        double (*mlp_gradient)(const fkd_mlp *, const double *, const double *, const fkd_targets_f64 *, int64_t, double, double *, double *) noexcept nogil
        double (*mlp_epoch)(const fkd_mlp *, const double *, const fkd_targets_f64 *, const int64_t *, int64_t, int64_t, double,
                            const fkd_optimizer *, double *, double *, double *, int64_t *, double *) noexcept nogil
        int64_t (*packed_size)(const fkd_mlp *) noexcept nogil
        void (*pack)(const fkd_mlp *, const double *, double *) noexcept nogil
        int64_t (*predict_scratch)(const fkd_mlp *, int64_t) noexcept nogil
        int64_t (*predict)(const fkd_mlp *, const double *, const double *, int64_t, int, double *, double *) noexcept nogil
        int64_t (*network_scratch)(const fkd_network *, int64_t) noexcept nogil
        double (*network_gradient)(const fkd_network *, const double *, const double *, const fkd_targets_f64 *, int64_t, double, double *,
                                   double *) noexcept nogil
        double (*network_epoch)(const fkd_network *, const double *, const fkd_targets_f64 *, const int64_t *, int64_t, int64_t, double,
                                const fkd_optimizer *, double *, double *, double *, int64_t *, double *) noexcept nogil
        int64_t (*network_packed)(const fkd_network *) noexcept nogil
        void (*network_pack)(const fkd_network *, const double *, const double *, const double *, double *) noexcept nogil
        int64_t (*network_predict_scratch)(const fkd_network *, int64_t) noexcept nogil
        int64_t (*network_predict)(const fkd_network *, const double *, const double *, int64_t, int, double *, double *) noexcept nogil
        int64_t (*network_state)(const fkd_network *) noexcept nogil
        int (*network_push)(const fkd_network *, const double *, double *, const double *, int, double *, double *) noexcept nogil
        int (*finite)(const double *, int64_t) noexcept nogil
        void (*order)(const double **, int64_t, int64_t, int64_t, const uint16_t *, int64_t, int64_t, int64_t, int64_t, double *, double *) noexcept nogil
        void (*sq_distances)(const double **, int64_t, int64_t, int64_t, int64_t, double *) noexcept nogil
        void (*rough_distances)(const double **, int64_t, int64_t, int64_t, int64_t, double *) noexcept nogil
        void (*combine)(const double **, int64_t, const double *, int64_t, int64_t, double *) noexcept nogil
        int64_t (*exits_scratch)(const fkd_mlp *, const fkd_exits *, int64_t) noexcept nogil
        double (*exits_gradient)(const fkd_mlp *, const fkd_exits *, const double *, const double *, const fkd_targets_f64 *, int64_t, double,
                                 double *, double *) noexcept nogil
        double (*exits_epoch)(const fkd_mlp *, const fkd_exits *, const double *, const fkd_targets_f64 *, const int64_t *, int64_t, int64_t,
                              double, const fkd_optimizer *, double *, double *, double *, int64_t *, double *) noexcept nogil
        int64_t (*rop_scratch)(const fkd_mlp *, int64_t) noexcept nogil
        double (*rop)(const fkd_mlp *, const double *, const double *, const double *, const fkd_targets_f64 *, int64_t, double *, double *, double *,
                      double *, double *) noexcept nogil
        double (*gradient_match)(const fkd_mlp *, const double *, const double *, const double *, const fkd_targets_f64 *, const int64_t *, int64_t,
                                 int, double *, double *, double *) noexcept nogil
        int64_t (*features_scratch)(const fkd_mlp *) noexcept nogil
        double (*feature_match)(const fkd_mlp *, const double *, const double *, const int64_t *, const double *, const int64_t *, int64_t, int, double *,
                                double *) noexcept nogil
        int64_t (*ridge_scratch)(const fkd_kernel *, int64_t, int64_t, int64_t) noexcept nogil
        double (*ridge)(const fkd_kernel *, const double *, int64_t, int64_t, const double *, int64_t, const double *, const double *, int64_t, double *, double *,
                        double *) noexcept nogil

    ctypedef struct fkd_table:
        int abi
        const char *isa
        fkd_kernels_f32 f32
        fkd_kernels_f64 f64
        void (*kl)(const double *, const double *, int64_t, int64_t, double, double *) noexcept nogil

    const fkd_table *fkd_get_table(const char *)
